"""The logits of a bank of gates on a GPU, in Triton: each row times the matrix of its group.

Which group a tile belongs to is found on the GPU, by :mod:`nmt_moe.kernels.gpu.tiles`. All
is float32, in three products of TF32: little work beside that of the experts.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmt_moe.kernels.gpu.choices import ROWS
from nmt_moe.kernels.gpu.rows import sum_of_rows
from nmt_moe.kernels.gpu.tiles import Tiles
from nmt_moe.kernels.gpu.tokens import Assignments
from nmt_moe.kernels.operators import like, operator

_DEPTH = 32  # of a step of a sum


# Of numbers that differ with each batch no variants are compiled.
@triton.jit(do_not_specialize=["most"], do_not_specialize_on_alignment=["first", "end", "group"])
def _rows_times_weights(
    x, at, w, out, first, end, group, most, K, N, step_k, step_n, GATHER: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    if tile >= tl.load(first + most):
        return
    g = tl.load(group + tile)
    row = tl.load(first + tile) + tl.arange(0, ROWS)
    real = row < tl.load(end + tile)
    row = row.to(tl.int64)
    source = tl.load(at + row, real, 0) if GATHER else row
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    w += g.to(tl.int64) * K * N
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for k in range(0, K, DEPTH):
        depth = k + tl.arange(0, DEPTH)
        x_inside = real[:, None] & (depth < K)[None, :]
        w_inside = (depth < K)[:, None] & (column < N)[None, :]
        x_part = tl.load(x + source[:, None] * K + depth[None, :], x_inside, 0).to(tl.float32)
        w_at = depth[:, None] * step_k + column[None, :] * step_n
        w_part = tl.load(w + w_at, w_inside, 0).to(tl.float32)
        total = tl.dot(x_part, w_part, total, input_precision="tf32x3")
    inside = real[:, None] & (column < N)[None, :]
    tl.store(out + row[:, None] * N + column[None, :], total, inside)


@triton.jit
def _weight_gradients(
    x, at, d, dw, ends, K, N, DEPTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    g = tl.program_id(0)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    start = tl.load(ends + g - 1, g > 0, 0)
    stop = tl.load(ends + g)
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for i in range(start, stop, DEPTH):
        depth = i + tl.arange(0, DEPTH)
        real = depth < stop
        source = tl.load(at + depth, real, 0)
        x_inside = (row < K)[:, None] & real[None, :]
        d_inside = real[:, None] & (column < N)[None, :]
        x_part = tl.load(x + source[None, :] * K + row[:, None], x_inside, 0).to(tl.float32)
        d_at = depth.to(tl.int64)[:, None] * N + column[None, :]
        d_part = tl.load(d + d_at, d_inside, 0)
        total = tl.dot(x_part, d_part, total, input_precision="tf32x3")
    inside = (row < K)[:, None] & (column < N)[None, :]
    at_w = g.to(tl.int64) * K * N + row[:, None] * N + column[None, :]
    tl.store(dw + at_w, total.to(dw.dtype.element_ty), inside)


def product(x_TD: Tensor, w_GDE: Tensor, rows: Assignments, counts_G: Tensor) -> Tensor:
    """``[R, E]``, float32: each row's token times the matrix of its group.

    Args:
        x_TD: the tokens.
        w_GDE: a matrix for each group.
        rows: the token of each row; rows are sorted by group.
        counts_G: int64: the rows of each group.
    """
    ends_G = counts_G.cumsum(0, dtype=torch.int32)
    where = (rows.token_A, rows.row_A, rows.start_S)
    out_RE: Tensor = _product(x_TD.contiguous(), w_GDE.contiguous(), *where, ends_G)
    return out_RE


def _multiply(x: Tensor, at_R: Tensor | None, rows: int, w: Tensor, ends_G: Tensor) -> Tensor:
    """``[R, N]``, float32: the row ``at_R`` of ``x`` times the ``[K, N]`` of its group."""
    _, k, n = w.shape
    tiles = Tiles(ends_G, rows)
    out_RN = x.new_empty(rows, n, dtype=torch.float32)
    if not rows:
        return out_RN
    columns = _columns(n)
    _rows_times_weights[(tiles.most, triton.cdiv(n, columns))](
        x, x if at_R is None else at_R, w, out_RN, tiles.first_M, tiles.end_M, tiles.expert_M,
        tiles.most, k, n, w.stride(1), w.stride(2), at_R is not None, ROWS, columns, _DEPTH,
    )  # fmt: skip
    return out_RN


def _columns(n: int) -> int:
    return min(64, max(16, triton.next_power_of_2(n)))


def bank_product(
    x_TD: Tensor, w_GDE: Tensor, token_R: Tensor, row_R: Tensor, start_S: Tensor, ends_G: Tensor
) -> Tensor:
    return _multiply(x_TD, token_R, len(token_R), w_GDE, ends_G)


def bank_product_backward(
    dout_RE: Tensor,
    x_TD: Tensor,
    w_GDE: Tensor,
    token_R: Tensor,
    row_R: Tensor,
    start_S: Tensor,
    ends_G: Tensor,
) -> tuple[Tensor, Tensor]:
    """The gradients of ``x_TD`` and ``w_GDE``."""
    dout_RE = dout_RE.contiguous()
    dx_RD = _multiply(dout_RE, None, len(dout_RE), w_GDE.transpose(1, 2), ends_G)
    dw_GDE = torch.empty_like(w_GDE)
    groups, dim, experts = w_GDE.shape
    columns = _columns(experts)
    _weight_gradients[(groups, triton.cdiv(dim, 64), triton.cdiv(experts, columns))](
        x_TD, token_R, dout_RE, dw_GDE, ends_G, dim, experts, _DEPTH, 64, columns
    )
    return sum_of_rows(dx_RD, None, row_R, start_S, x_TD.dtype), dw_GDE


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, dout_RE: Tensor) -> tuple[Tensor | None, ...]:
    return *_gradients(dout_RE, *ctx.saved_tensors), None, None, None, None


_gradients = operator(bank_product_backward, lambda dout, x, w, *_: like(x, w))
_product = operator(
    bank_product,
    lambda x, w, token, *_: x.new_empty(token.shape[0], w.shape[2], dtype=torch.float32),
    save=_save,
    backward=_backward,
)
