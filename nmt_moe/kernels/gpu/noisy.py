"""The noisy gate's choice and its smooth load on a GPU, in Triton: one pass over the logits.

The formulas are those of :class:`nmt_moe.moe.gating.NoisyTopKGate` and
:func:`nmt_moe.moe.balance.load_probability`.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmt_moe.kernels.operators import operator

_NUMBERS = 1024  # of a tile
_TILES = 8  # of a program, which sums the load over them


@triton.jit
def _softplus(x):
    u = tl.exp(tl.minimum(x, 20.0))
    one = 1 + u
    # log1p, which is u where 1 + u rounds to 1.
    log = tl.where(one == 1, u, tl.log(one) * (u / tl.where(one == 1, 1.0, one - 1)))
    return tl.where(x > 20, x, log)


@triton.jit
def _at(x, columns, index):
    """The entry of each row in a column."""
    return tl.sum(tl.where(columns[None, :] == index[:, None], x, 0), 1)


@triton.jit
def _in_order(x):
    """Integers in the order of the numbers, NaN after all others; -0x7FFFFFFF is below all."""
    bits = x.to(tl.int32, bitcast=True)
    return tl.where(x == x, tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits), 0x7FFFFFFF)


@triton.jit
def _choose(
    both, noise, top, index, load, T, E, K: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    TILES: tl.constexpr,
):  # fmt: skip
    columns = tl.arange(0, COLUMNS)
    loads = tl.zeros([COLUMNS], tl.float32)
    for tile in range(TILES):
        rows = (tl.program_id(0) * TILES + tile) * ROWS + tl.arange(0, ROWS)
        real = rows < T
        inside = real[:, None] & (columns < E)[None, :]
        row = rows.to(tl.int64)
        at = row[:, None] * (2 * E) + columns[None, :]
        clean = tl.load(both + at, inside, 0)
        stddev = _softplus(tl.load(both + at + E, inside, 0))
        noisy = clean + tl.load(noise + row[:, None] * E + columns[None, :], inside, 0) * stddev
        # Whatever a row holds, NaN or -inf alone, its choices differ and lie inside.
        left = tl.where(columns[None, :] < E, _in_order(noisy), -0x7FFFFFFF)
        chosen = tl.zeros([ROWS, COLUMNS], tl.int32)
        kth = tl.zeros([ROWS], tl.float32)
        for i in tl.static_range(K + 1):
            best = tl.argmax(left, 1)
            here = columns[None, :] == best[:, None]
            value = tl.sum(tl.where(here, noisy, 0), 1)
            tl.store(index + row * (K + 1) + i, best.to(tl.int64), real)
            if i < K:
                tl.store(top + row * K + i, value, real)
                chosen = tl.where(here, 1, chosen)
                kth = value
            else:
                bar = tl.where(chosen == 1, value[:, None], kth[:, None])
                z = (clean - bar) / tl.maximum(stddev, 1e-10)
                p = 0.5 * (1 + tl.erf(z * 0.7071067811865476))
                loads += tl.sum(tl.where(inside, p, 0), 0)
            left = tl.where(here, -0x7FFFFFFF, left)
    tl.store(load + tl.program_id(0) * E + columns, loads, columns < E)


@triton.jit
def _choose_backward(
    both, noise, index, dtop, dload, dboth, T, E, K: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    columns = tl.arange(0, COLUMNS)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    real = rows < T
    inside = real[:, None] & (columns < E)[None, :]
    row = rows.to(tl.int64)
    at = row[:, None] * (2 * E) + columns[None, :]
    clean = tl.load(both + at, inside, 0)
    raw = tl.load(both + at + E, inside, 0)
    drawn = tl.load(noise + row[:, None] * E + columns[None, :], inside, 0)
    stddev = _softplus(raw)
    noisy = clean + drawn * stddev
    dnoisy = tl.zeros([ROWS, COLUMNS], tl.float32)
    chosen = tl.zeros([ROWS, COLUMNS], tl.int32)
    for i in tl.static_range(K):
        best = tl.load(index + row * (K + 1) + i, real, 0).to(tl.int32)
        here = columns[None, :] == best[:, None]
        dnoisy += tl.where(here, tl.load(dtop + row * K + i, real, 0)[:, None], 0)
        chosen = tl.where(here, 1, chosen)
    kth = tl.load(index + row * (K + 1) + K - 1, real, 0).to(tl.int32)
    next_one = tl.load(index + row * (K + 1) + K, real, 0).to(tl.int32)
    bar_kth, bar_next = _at(noisy, columns, kth), _at(noisy, columns, next_one)
    bar = tl.where(chosen == 1, bar_next[:, None], bar_kth[:, None])
    floor = tl.maximum(stddev, 1e-10)
    z = (clean - bar) / floor
    density = 0.3989422804014327 * tl.exp(-0.5 * z * z)
    dload_E = tl.load(dload + columns, columns < E, 0)
    dclean = tl.where(inside, dload_E[None, :] * density / floor, 0)
    dstddev = tl.where(stddev >= 1e-10, -dclean * z, 0)
    to_next = -tl.sum(tl.where(chosen == 1, dclean, 0), 1)
    to_kth = -tl.sum(tl.where(chosen == 1, 0, dclean), 1)
    dnoisy += tl.where(columns[None, :] == kth[:, None], to_kth[:, None], 0)
    dnoisy += tl.where(columns[None, :] == next_one[:, None], to_next[:, None], 0)
    dstddev += dnoisy * drawn
    tl.store(dboth + at, dclean + dnoisy, inside)
    tl.store(dboth + at + E, dstddev / (1 + tl.exp(-raw)), inside)


def choose(both_TF: Tensor, noise_TE: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The ``k`` largest noisy logits of each row, the largest first, and the smooth load.

    Args:
        both_TF: ``[T, 2*E]``, float32: clean logits, then what softplus makes the noise's standard
            deviation of.
        noise_TE: standard normal numbers.
        k: less than ``E``.

    Returns:
        The logits ``[T, k]``, where they are, and the load ``[E]``.
    """
    top_TK, index_TJ, load_E = _noisy_choice(both_TF, noise_TE, k)
    return top_TK, index_TJ[:, :k], load_E


def _sizes(experts: int) -> dict[str, Any]:
    columns = triton.next_power_of_2(experts)
    return {"COLUMNS": columns, "ROWS": max(1, _NUMBERS // columns)}


def noisy_choice(both_TF: Tensor, noise_TE: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`choose`, and one more place: that of the next logit."""
    tokens, experts = noise_TE.shape
    top_TK = both_TF.new_empty(tokens, k)
    index_TJ = both_TF.new_empty(tokens, k + 1, dtype=torch.int64)
    sizes = _sizes(experts)
    programs = triton.cdiv(tokens, sizes["ROWS"] * _TILES)
    load_PE = both_TF.new_empty(programs, experts)
    if tokens:
        _choose[(programs,)](
            both_TF, noise_TE, top_TK, index_TJ, load_PE, tokens, experts, k, TILES=_TILES, **sizes
        )
    return top_TK, index_TJ, load_PE.sum(0)


def noisy_choice_backward(
    both_TF: Tensor, noise_TE: Tensor, index_TJ: Tensor, dtop_TK: Tensor, dload_E: Tensor
) -> Tensor:
    (tokens, experts), k = noise_TE.shape, dtop_TK.shape[1]
    dboth_TF = torch.empty_like(both_TF)
    if tokens:
        sizes = _sizes(experts)
        _choose_backward[(triton.cdiv(tokens, sizes["ROWS"]),)](
            both_TF, noise_TE, index_TJ, dtop_TK.contiguous(), dload_E.contiguous(), dboth_TF,
            tokens, experts, k, **sizes,
        )  # fmt: skip
    return dboth_TF


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:2], output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(
    ctx: Any, dtop_TK: Tensor, _: Tensor | None, dload_E: Tensor
) -> tuple[Tensor | None, ...]:
    return _noisy_choice_gradient(*ctx.saved_tensors, dtop_TK, dload_E), None, None


_noisy_choice_gradient = operator(
    noisy_choice_backward, lambda both, *_: both.new_empty(both.shape)
)
_noisy_choice = operator(
    noisy_choice,
    lambda both, noise, k: (
        both.new_empty(noise.shape[0], k),
        both.new_empty(noise.shape[0], k + 1, dtype=torch.int64),
        both.new_empty(noise.shape[1]),
    ),
    save=_save,
    backward=_backward,
)
