"""The backbone as it is, without the support set."""

from bench.baseline import Learner


class ZeroShot(Learner):
    """The pre-trained backbone answers without having seen the support set."""
