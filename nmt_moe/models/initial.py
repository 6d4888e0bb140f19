"""Initialisation of weights, scaled by the fan-in.

The mean square of activations then does not depend on the widths: a product is a sum over its
input, so the variance of a weight is a constant divided by the width of the input. The docstring of
each module gives the variance of its output at the start; ``tests/models/test_initial.py`` measures
it.
"""

from torch import Tensor, nn


def thirds(weight_OI: Tensor, fan_in: int | None = None) -> None:
    """Draw weights so that outputs have a third of the mean square of the input, as ``nn.Linear``.

    Args:
        weight_OI: the weight, drawn anew from a uniform distribution.
        fan_in: the width of the input, where that is not ``I``.
    """
    _uniform(weight_OI, 1 / 3 / (fan_in or weight_OI.shape[1]))


def ones(weight_OI: Tensor) -> None:
    """Draw weights so that outputs have the mean square of the input."""
    _uniform(weight_OI, 1 / weight_OI.shape[1])


def twos(weight_OI: Tensor) -> None:
    """Draw weights so that outputs have twice the mean square of the input; a ReLU halves it."""
    _uniform(weight_OI, 2 / weight_OI.shape[1])


def _uniform(weight: Tensor, variance: float) -> None:
    bound = (3 * variance) ** 0.5
    nn.init.uniform_(weight, -bound, bound)
