"""The optimizer's updates on a GPU, in Triton: weights in bfloat16 with remainders of 16 bits.

A weight and its remainder are together a float32 number, as in :mod:`nmt_moe.optim.split`. No
float32 copy of weights or gradients is made.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

_TINY = torch.finfo(torch.float32).tiny
_BLOCK = 1024
_TILE = dict(ROWS=64, COLUMNS=128, num_warps=8)


@triton.jit
def _float(bits):
    """Of the bits of bfloat16."""
    return (bits.to(tl.int32) << 16).to(tl.float32, bitcast=True)


@triton.jit
def _join(weight, remainder):
    zero = (weight.to(tl.int32) & 0x7FFF) == 0
    left = remainder.to(tl.int32)
    left = tl.where(zero, tl.maximum(left, 0), left)
    return ((weight.to(tl.int32) << 16) + left).to(tl.float32, bitcast=True)


@triton.jit
def _split(x):
    """The bits of the bfloat16, and the remainder."""
    bits = x.to(tl.int32, bitcast=True)
    upper = (bits + 0x8000) >> 16
    left = bits - (upper << 16)
    nan = x != x
    return tl.where(nan, 0x7FC0, upper).to(tl.int16), tl.where(nan, 0, left).to(tl.int16)


@triton.jit
def _adam(
    weight, remainder, grad, exp_avg, exp_avg_sq, scale, numbers, share1, share2, rate, root, eps,
    keep, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < numbers
    x = _join(tl.load(weight + at, inside, 0), tl.load(remainder + at, inside, 0))
    g = _float(tl.load(grad + at, inside, 0)) * tl.load(scale)
    first = tl.load(exp_avg + at, inside, 0)
    second = tl.load(exp_avg_sq + at, inside, 0)
    first += share1 * (g - first)
    second += share2 * (g * g - second)
    x = keep * x - rate * first / (tl.sqrt(second) / root + eps)
    high, low = _split(x)
    tl.store(weight + at, high, inside)
    tl.store(remainder + at, low, inside)
    tl.store(exp_avg + at, first, inside)
    tl.store(exp_avg_sq + at, second, inside)


@triton.jit
def _squares(grad, row, column, R, C, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Of a block of an expert's rows: the means over their columns, and what the block adds to the
    means over all rows."""
    blocks = tl.cdiv(R, ROWS)
    block = tl.program_id(0).to(tl.int64)
    r = block % blocks * ROWS + tl.arange(0, ROWS)
    at_row = block // blocks * R + r
    sums = tl.zeros([ROWS], tl.float32)
    for start in range(0, C, COLUMNS):
        c = start + tl.arange(0, COLUMNS)
        inside = (r < R)[:, None] & (c < C)[None, :]
        g = _float(tl.load(grad + at_row[:, None] * C + c[None, :], inside, 0))
        sums += tl.sum(g * g, 1)
        tl.store(column + block * C + c, tl.sum(g * g, 0) / R, c < C)
    tl.store(row + at_row, sums / C, r < R)


@triton.jit
def _take_in(
    mean_row, mean_column, row, column, updates, scale, used_out, row_root, column_root, R, C,
    share, log_beta, tiny, UNUSED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One expert's moving averages, and the factors of the root of its second moment."""
    e = tl.program_id(0).to(tl.int64)
    factor = tl.load(scale)
    r, c = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    at_row, at_column = e * R + r, e * C + c
    new_row = tl.load(mean_row + at_row, r < R, 0) * (factor * factor)
    new_column = tl.load(mean_column + at_column, c < C, 0) * (factor * factor)
    used = tl.max(tl.where(new_row == 0, 0.0, 1.0))
    if UNUSED:
        used = tl.maximum(used, 1.0)
    row_R = tl.load(row + at_row, r < R, 0)
    column_C = tl.load(column + at_column, c < C, 0)
    row_R += used * share * (new_row - row_R)
    column_C += used * share * (new_column - column_C)
    count = tl.load(updates + e) + used
    # float32 would lose the digits of 1 - 0.999.
    correction = (1 - tl.exp(count.to(tl.float64) * log_beta)).to(tl.float32)
    mean = tl.sum(row_R) / R * correction
    # Without any gradient so far it is 0, and 0 / tiny is 0; a NaN stays one.
    mean = tl.where(mean < tiny, tiny, mean)
    tl.store(row + at_row, row_R, r < R)
    tl.store(column + at_column, column_C, c < C)
    tl.store(updates + e, count)
    tl.store(used_out + e, used.to(tl.int32))
    tl.store(row_root + at_row, tl.sqrt(row_R / mean), r < R)
    tl.store(column_root + at_column, tl.sqrt(column_C), c < C)


@triton.jit
def _factored(
    weight, remainder, grad, used, row_root, column_root, scale, R, C, rate, eps, keep,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    across = tl.cdiv(C, COLUMNS)
    down = tl.cdiv(R, ROWS)
    block = tl.program_id(0)
    e = (block // (across * down)).to(tl.int64)
    r = block // across % down * ROWS + tl.arange(0, ROWS)
    c = block % across * COLUMNS + tl.arange(0, COLUMNS)
    # Nothing is read or written of an expert that is not updated.
    inside = (r < R)[:, None] & (c < C * tl.load(used + e))[None, :]
    at = (e * R + r)[:, None] * C + c[None, :]
    x = _join(tl.load(weight + at, inside, 0), tl.load(remainder + at, inside, 0))
    g = _float(tl.load(grad + at, inside, 0)) * tl.load(scale)
    row = tl.load(row_root + e * R + r, r < R, 0)
    column = tl.load(column_root + e * C + c, c < C, 0)
    x = keep * x - rate * g / (row[:, None] * column[None, :] + eps)
    high, low = _split(x)
    tl.store(weight + at, high, inside)
    tl.store(remainder + at, low, inside)


def adam_(
    weight: Tensor,
    remainder: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    scale: float | Tensor,
    *,
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> None:
    """Update a weight, its remainder and both moments in place, as torch's AdamW.

    Args:
        weight: bfloat16, as the gradient; all tensors are contiguous.
        remainder: int16.
        grad: is multiplied by ``scale``.
        exp_avg: float32, as ``exp_avg_sq``.
        scale: a number, or a tensor of one on the same device.
        step: the number of this update, from 1.
        lr: learning rate.
        betas: of the moments.
        eps: added to the root of the bias-corrected second moment.
        weight_decay: in units of the learning rate.
    """
    numbers = weight.numel()
    if not numbers:
        return
    first, second = (1 - beta**step for beta in betas)
    _adam[(triton.cdiv(numbers, _BLOCK),)](
        _bits(weight), remainder, _bits(grad), exp_avg, exp_avg_sq, _on(weight, scale), numbers,
        1 - betas[0], 1 - betas[1], lr / first, math.sqrt(second), eps, 1 - lr * weight_decay,
        BLOCK=_BLOCK,
    )  # fmt: skip


def mean_squares(grad_ERC: Tensor) -> tuple[Tensor, Tensor]:
    """The means of the squares over the columns, ``[E, R]``, and over the rows, ``[E, C]``; of
    bfloat16, in float32."""
    experts, rows, columns = grad_ERC.shape
    blocks = triton.cdiv(rows, _TILE["ROWS"])
    row_ER = grad_ERC.new_empty(experts, rows, dtype=torch.float32)
    column_EBC = grad_ERC.new_empty(experts, blocks, columns, dtype=torch.float32)
    if grad_ERC.numel():
        _squares[(experts * blocks,)](_bits(grad_ERC), row_ER, column_EBC, rows, columns, **_TILE)
    return row_ER, column_EBC.sum(1)


def factored_(
    weight_ERC: Tensor,
    remainder_ERC: Tensor,
    grad_ERC: Tensor,
    row_ER: Tensor,
    column_EC: Tensor,
    updates_E: Tensor,
    means: tuple[Tensor, Tensor],
    scale: float | Tensor,
    *,
    lr: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    update_unused: bool,
) -> None:
    """The update of :func:`nmt_moe.optim.factored.factored_update_`.

    ``means`` are those of :func:`mean_squares`; ``scale`` is as in :func:`adam_`.
    """
    experts, rows, columns = weight_ERC.shape
    if not weight_ERC.numel():
        return
    factor = _on(weight_ERC, scale)
    used_E = torch.empty_like(updates_E, dtype=torch.int32)
    row_root, column_root = torch.empty_like(row_ER), torch.empty_like(column_EC)
    _take_in[(experts,)](
        *means, row_ER, column_EC, updates_E, factor, used_E, row_root, column_root, rows, columns,
        1 - beta2, math.log(max(beta2, _TINY)), _TINY, update_unused,
        triton.next_power_of_2(rows), triton.next_power_of_2(columns),
    )  # fmt: skip
    tiles = triton.cdiv(rows, _TILE["ROWS"]) * triton.cdiv(columns, _TILE["COLUMNS"])
    _factored[(experts * tiles,)](
        _bits(weight_ERC), remainder_ERC, _bits(grad_ERC), used_E, row_root, column_root, factor,
        rows, columns, lr, eps, 1 - lr * weight_decay, **_TILE,
    )  # fmt: skip


def _bits(x: Tensor) -> Tensor:
    return x.view(torch.int16)


def _on(weight: Tensor, scale: float | Tensor) -> Tensor:
    """A number in the GPU's memory, without a copy for which the host would wait."""
    if isinstance(scale, Tensor):
        return scale.float()
    return torch.full((), scale, device=weight.device)
