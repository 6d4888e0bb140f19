"""Tokens to experts and back on a GPU, with gradients."""

from typing import Any

import torch
from torch import Tensor

from nmt_moe.kernels.gpu import key_type
from nmt_moe.kernels.gpu.rows import spread, sum_of_rows
from nmt_moe.kernels.operators import like, operator


class Assignments:
    """Where each assignment's token is, and where each token's assignments are.

    Args:
        token_A: int64: the token of an assignment.
        tokens: ``T``.
        row_A: int64: the assignments sorted by token, where that is known.
    """

    def __init__(self, token_A: Tensor, tokens: int, row_A: Tensor | None = None) -> None:
        self.token_A = token_A
        # int64: the assignments sorted by token, and where those of each begin, and the end.
        key_A = token_A.to(key_type(tokens + 1))
        if row_A is None:
            sorted_A, self.row_A = key_A.sort(stable=True)
        else:
            sorted_A, self.row_A = key_A.index_select(0, row_A), row_A
        token_S = torch.arange(tokens + 1, device=token_A.device, dtype=key_A.dtype)
        self.start_S = torch.searchsorted(sorted_A, token_S)


def gather(x_TD: Tensor, assignments: Assignments) -> Tensor:
    """The token of each assignment: ``[T, D]`` to ``[A, D]``."""
    x_AD: Tensor = _gather(x_TD, assignments.token_A, assignments.row_A, assignments.start_S)
    return x_AD


def combine(y_AD: Tensor, gate_A: Tensor, assignments: Assignments, dtype: torch.dtype) -> Tensor:
    """Each token's sum of its assignments, weighed by ``gate_A``: ``[A, D]`` to ``[T, D]``."""
    where = (assignments.token_A, assignments.row_A, assignments.start_S)
    y_TD: Tensor = _combine(y_AD.contiguous(), gate_A.contiguous(), *where, dtype)
    return y_TD


def gather_tokens(x_TD: Tensor, token_A: Tensor, row_A: Tensor, start_S: Tensor) -> Tensor:
    return x_TD.index_select(0, token_A)


def gather_tokens_backward(dx_AD: Tensor, row_A: Tensor, start_S: Tensor) -> Tensor:
    return sum_of_rows(dx_AD.contiguous(), None, row_A, start_S, dx_AD.dtype)


def combine_tokens(
    y_AD: Tensor,
    gate_A: Tensor,
    token_A: Tensor,
    row_A: Tensor,
    start_S: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    return sum_of_rows(y_AD, gate_A, row_A, start_S, dtype)


def combine_tokens_backward(
    dout_TD: Tensor, y_AD: Tensor, gate_A: Tensor, token_A: Tensor
) -> tuple[Tensor, Tensor]:
    return spread(dout_TD.contiguous(), y_AD, gate_A, token_A)


def _save_places(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[2:])


def _gather_backward(ctx: Any, dx_AD: Tensor) -> tuple[Tensor | None, ...]:
    return _gather_gradient(dx_AD, *ctx.saved_tensors), None, None, None


def _save_rows(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])


def _combine_backward(ctx: Any, dout_TD: Tensor) -> tuple[Tensor | None, ...]:
    return *_combine_gradients(dout_TD, *ctx.saved_tensors), None, None, None, None


_gather_gradient = operator(
    gather_tokens_backward, lambda dx, row, start: dx.new_empty(start.shape[0] - 1, dx.shape[1])
)
_gather = operator(
    gather_tokens,
    lambda x, token, row, start: x.new_empty(token.shape[0], x.shape[1]),
    save=_save_places,
    backward=_gather_backward,
)
_combine_gradients = operator(combine_tokens_backward, lambda dout, y, gate, token: like(y, gate))
_combine = operator(
    combine_tokens,
    lambda y, gate, token, row, start, dtype: y.new_empty(
        start.shape[0] - 1, y.shape[1], dtype=dtype
    ),
    save=_save_rows,
    backward=_combine_backward,
)
