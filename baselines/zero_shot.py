"""The backbone as it is, without the support set."""

from bench.baseline import Learner


class ZeroShot(Learner):
    """The pre-trained backbone answers without having seen the support set.

    Cost: generation alone.

    Use it as the zero of adaptation: what a method scores above it, the support taught.
    """
