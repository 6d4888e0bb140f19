"""Tokens to experts and back on a GPU, with gradients."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt_moe.kernels.gpu.rows import spread, sum_of_rows


class Assignments:
    """Where each assignment's token is, and where each token's assignments are.

    Args:
        token_A: int64: the token of an assignment.
        tokens: ``T``.
    """

    def __init__(self, token_A: Tensor, tokens: int) -> None:
        self.token_A = token_A
        # int64: the assignments sorted by token, and where those of each begin, and the end. A
        # sort takes a pass for each byte.
        sorted_A, self.row_A = token_A.int().sort(stable=True)
        token_S = torch.arange(tokens + 1, device=token_A.device, dtype=torch.int32)
        self.start_S = torch.searchsorted(sorted_A, token_S)


def gather(x_TD: Tensor, assignments: Assignments) -> Tensor:
    """The token of each assignment: ``[T, D]`` to ``[A, D]``."""
    return _Gather.apply(x_TD, assignments)


def combine(y_AD: Tensor, gate_A: Tensor, assignments: Assignments, dtype: torch.dtype) -> Tensor:
    """Each token's sum of its assignments, weighed by ``gate_A``: ``[A, D]`` to ``[T, D]``."""
    return _Combine.apply(y_AD, gate_A, assignments, dtype)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_TD, assignments):
        ctx.assignments = assignments
        return x_TD.index_select(0, assignments.token_A)

    @staticmethod
    @once_differentiable
    def backward(ctx, dx_AD):
        row_A, start_S = ctx.assignments.row_A, ctx.assignments.start_S
        return sum_of_rows(dx_AD.contiguous(), None, row_A, start_S, dx_AD.dtype), None


class _Combine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y_AD, gate_A, assignments, dtype):
        y_AD, gate_A = y_AD.contiguous(), gate_A.contiguous()
        ctx.save_for_backward(y_AD, gate_A)
        ctx.assignments = assignments
        return sum_of_rows(y_AD, gate_A, assignments.row_A, assignments.start_S, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, dout_TD):
        y_AD, gate_A = ctx.saved_tensors
        dy_AD, dgate_A = spread(dout_TD.contiguous(), y_AD, gate_A, ctx.assignments.token_A)
        return dy_AD, dgate_A, None, None
