"""Sums of groups of numbers on a GPU, in Triton."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable


@triton.jit
def _group_sums(x, ends, out, BLOCK: tl.constexpr):
    e = tl.program_id(0)
    start = tl.load(ends + e - 1, e > 0, 0)
    stop = tl.load(ends + e)
    total = tl.zeros([BLOCK], tl.float32)
    for i in range(start, stop, BLOCK):
        at = i + tl.arange(0, BLOCK)
        total += tl.load(x + at, at < stop, 0)
    tl.store(out + e, tl.sum(total))


def group_sums(x_A: Tensor, group_A: Tensor, ends_E: Tensor) -> Tensor:
    """``[E]``: the sum of each group's numbers, in the same order in each run.

    Args:
        x_A: float32, sorted by group.
        group_A: int64: the group of each number.
        ends_E: int64: where those of each group end.
    """
    return _GroupSums.apply(x_A, group_A, ends_E)


class _GroupSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_A, group_A, ends_E):
        ctx.save_for_backward(group_A)
        out_E = x_A.new_empty(len(ends_E))
        _group_sums[(len(ends_E),)](x_A.contiguous(), ends_E, out_E, 1024)
        return out_E

    @staticmethod
    @once_differentiable
    def backward(ctx, dout_E):
        (group_A,) = ctx.saved_tensors
        return dout_E.index_select(0, group_A), None, None
