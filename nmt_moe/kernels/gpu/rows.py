"""Rows of tokens to rows of assignments and back on a GPU, in Triton: each number moves once.

No atomic additions, so that results do not differ from run to run.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _sum_of_rows(y, gate, row, start, out, D, WEIGH: tl.constexpr, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < D
    total = tl.zeros([BLOCK], tl.float32)
    for i in range(tl.load(start + token), tl.load(start + token + 1)):
        at = tl.load(row + i)
        part = tl.load(y + at * D + column, inside, 0).to(tl.float32)
        if WEIGH:
            part *= tl.load(gate + at)
        total += part
    tl.store(out + token * D + column, total.to(out.dtype.element_ty), inside)


@triton.jit
def _spread(dout, y, gate, token, dy, dgate, D, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < D
    grad = tl.load(dout + tl.load(token + at) * D + column, inside, 0).to(tl.float32)
    value = tl.load(y + at * D + column, inside, 0).to(tl.float32)
    tl.store(dgate + at, tl.sum(grad * value))
    grad *= tl.load(gate + at)
    tl.store(dy + at * D + column, grad.to(dy.dtype.element_ty), inside)


def sum_of_rows(
    y_AD: Tensor, gate_A: Tensor | None, row_A: Tensor, start_S: Tensor, dtype: torch.dtype
) -> Tensor:
    """``out_TD``: each token's rows of ``y_AD``, weighed by their gates if given, and summed.

    Args:
        y_AD: contiguous.
        gate_A: float32, contiguous.
        row_A: int64: rows of the first token, then those of the second, ...
        start_S: int64: where those of each token begin in ``row_A``, and the end, ``T + 1``.
        dtype: of the result; the sum is in float32.
    """
    tokens, dim = len(start_S) - 1, y_AD.shape[1]
    out_TD = y_AD.new_empty(tokens, dim, dtype=dtype)
    if tokens:
        weigh, size = gate_A is not None, _block(dim)
        gate_A = y_AD if gate_A is None else gate_A
        _sum_of_rows[(tokens,)](
            y_AD, gate_A, row_A, start_S, out_TD, dim, weigh, size, num_warps=_warps(size)
        )
    return out_TD


def spread(dout_TD: Tensor, y_AD: Tensor, gate_A: Tensor, token_A: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of :func:`sum_of_rows` by ``y_AD``, in its type, and by the gates."""
    dy_AD, dgate_A = torch.empty_like(y_AD), torch.empty_like(gate_A)
    if len(y_AD):
        dim = y_AD.shape[1]
        size = _block(dim)
        _spread[(len(y_AD),)](
            dout_TD, y_AD, gate_A, token_A, dy_AD, dgate_A, dim, size, num_warps=_warps(size)
        )
    return dy_AD, dgate_A


def _block(dim: int) -> int:
    return triton.next_power_of_2(dim)


def _warps(block: int) -> int:
    """16 bytes of bfloat16 for each thread."""
    return max(1, min(block // 256, 16))
