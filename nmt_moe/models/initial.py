"""Initial weights: the scales that make a model of any width start alike.

Activations keep a mean square that does not depend on the widths: a product is a sum over its
input, so the variance of a weight is a constant over the width of the input, its fan-in. Each
module says of its output what that gives; ``tests/models/test_initial.py`` measures it.
"""

from torch import Tensor, nn


def thirds(weight_OI: Tensor, fan_in: int | None = None) -> None:
    """Products get a third of the mean square of their input, as those of ``nn.Linear`` do.

    Args:
        weight_OI: to draw anew, uniformly.
        fan_in: the width of the input, where that is not ``I``.
    """
    _uniform(weight_OI, 1 / 3 / (fan_in or weight_OI.shape[1]))


def ones(weight_OI: Tensor) -> None:
    """Products get the mean square of their input."""
    _uniform(weight_OI, 1 / weight_OI.shape[1])


def twos(weight_OI: Tensor) -> None:
    """Products get twice the mean square of their input, of which a ReLU then keeps half."""
    _uniform(weight_OI, 2 / weight_OI.shape[1])


def _uniform(weight: Tensor, variance: float) -> None:
    bound = (3 * variance) ** 0.5
    nn.init.uniform_(weight, -bound, bound)
