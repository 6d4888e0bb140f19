"""Sums of groups of numbers on a GPU, in Triton."""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from nmt_moe.kernels.operators import operator


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
    sums_E: Tensor = _sums(x_A, group_A, ends_E)
    return sums_E


def sums_of_groups(x_A: Tensor, group_A: Tensor, ends_E: Tensor) -> Tensor:
    out_E = x_A.new_empty(len(ends_E))
    _group_sums[(len(ends_E),)](x_A.contiguous(), ends_E, out_E, 1024)
    return out_E


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _backward(ctx: Any, dout_E: Tensor) -> tuple[Tensor | None, ...]:
    (group_A,) = ctx.saved_tensors
    return dout_E.index_select(0, group_A), None, None


_sums = operator(
    sums_of_groups,
    lambda x, group, ends: x.new_empty(ends.shape),
    save=_save,
    backward=_backward,
)
