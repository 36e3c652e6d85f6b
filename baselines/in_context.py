"""The support set in the prompt, no change of weights."""

from bench.baseline import Learner


class InContext(Learner):
    """In-context learning (Brown et al. 2020): support examples stand before each query.

    Examples that do not fit the context are left out whole, the last first, and counted.

    Cost: no inner loop; every answer reads a prompt K times as long.

    Use it where weights cannot be changed per task; `metaicl` is the same, trained for it.
    """

    demonstrates = True
