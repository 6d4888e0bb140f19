"""Tokens to experts and back."""

from torch import Tensor

from nmt_moe.moe.routing import Routing


def dispatch(x_TD: Tensor, routing: Routing) -> Tensor:
    """Lay the tokens out by expert: ``[T, D]`` to ``[A, D]``."""
    return x_TD.index_select(0, routing.token_A)


def combine(y_AD: Tensor, routing: Routing, num_tokens: int) -> Tensor:
    """Weigh each expert's output by its gate and add it to its token: ``[A, D]`` to ``[T, D]``.

    The result has the gates' precision.
    """
    weighted_AD = routing.gate_A.unsqueeze(1) * y_AD
    y_TD = weighted_AD.new_zeros(num_tokens, y_AD.shape[1])
    return y_TD.index_add(0, routing.token_A, weighted_AD)
