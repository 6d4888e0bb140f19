"""Attention of one decoder step on a GPU in one kernel each way, in Triton (appendix G).

A program has one query. It goes over the positions of its sentence twice: for the scores, of which
the softmax needs the largest and the sum first, and with the weights. Scores, softmax and sums are
float32, and nothing is read of padding.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmt_moe.kernels.cpu.recurrence import Source
from nmt_moe.kernels.gpu.cell import tanh

_NUMBERS = 4096  # of a block of positions, all their width


# Of numbers that differ with each batch no variants are compiled.
@triton.jit(
    do_not_specialize=["each", "S", "weights_row"], do_not_specialize_on_alignment=["weights"]
)
def _attend(
    query, keys, source, pad, v, scores, weights, context, each, S, D, query_row, keys_row,
    keys_step, source_row, source_step, weights_row, context_row, ADDITIVE: tl.constexpr,
    BOUNDED: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    sentence = row // each
    d = tl.arange(0, BLOCK_D)
    real = d < D
    q = tl.load(query + row * query_row + d, real, 0).to(tl.float32)
    if ADDITIVE:
        v_D = tl.load(v + d, real, 0).to(tl.float32)
    elif BOUNDED:
        q = tanh(q)
    most = -3e38  # finite, as a block of padding only would make NaN of infinities
    total = 0.0
    for start in range(0, S, BLOCK_S):
        s = start + tl.arange(0, BLOCK_S)
        live = tl.load(pad + sentence * S + s, s < S, 1) == 0
        at = keys + sentence * keys_row + s.to(tl.int64)[:, None] * keys_step + d[None, :]
        k = tl.load(at, live[:, None] & real[None, :], 0).to(tl.float32)
        if ADDITIVE:
            score = tl.sum(tanh(k + q[None, :]) * v_D[None, :], 1)
        else:
            score = tl.sum(k * q[None, :], 1)
        score = tl.where(live, score, float("-inf"))
        larger = tl.maximum(most, tl.max(score, 0))
        total = total * tl.exp(most - larger) + tl.sum(tl.exp(score - larger), 0)
        most = larger
        tl.store(scores + row * S + s, score, s < S)
    tl.debug_barrier()  # other threads read what these have written
    found = tl.zeros([BLOCK_D], tl.float32)
    for start in range(0, S, BLOCK_S):
        s = start + tl.arange(0, BLOCK_S)
        score = tl.load(scores + row * S + s, s < S, float("-inf"))
        weight = tl.where(score == float("-inf"), 0, tl.exp(score - most) / total)
        tl.store(weights + row * weights_row + s, weight.to(weights.dtype.element_ty), s < S)
        at = source + sentence * source_row + s.to(tl.int64)[:, None] * source_step + d[None, :]
        x = tl.load(at, (weight != 0)[:, None] & real[None, :], 0).to(tl.float32)
        found += tl.sum(x * weight[:, None], 0)
    tl.store(context + row * context_row + d, found.to(context.dtype.element_ty), real)


# Of numbers that differ with each batch no variants are compiled.
@triton.jit(
    do_not_specialize=["S", "weights_row", "dscores_row", "dweights_row"],
    do_not_specialize_on_alignment=["weights", "dscores", "dweights"],
)
def _attend_backward(
    query, keys, source, v, weights, dcontext, dweights, gathered, dscores, dquery, dkeys, dv, S, D,
    query_row, keys_row, keys_step, source_row, source_step, weights_row, dcontext_row,
    dweights_row, dscores_row, dquery_row, ADDITIVE: tl.constexpr, BOUNDED: tl.constexpr,
    WEIGHTS: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK_D)
    real = d < D
    dfound = tl.load(dcontext + row * dcontext_row + d, real, 0).to(tl.float32)
    mean = 0.0
    for start in range(0, S, BLOCK_S):
        s = start + tl.arange(0, BLOCK_S)
        weight = tl.load(weights + row * weights_row + s, s < S, 0).to(tl.float32)
        at = source + row * source_row + s.to(tl.int64)[:, None] * source_step + d[None, :]
        x = tl.load(at, (weight != 0)[:, None] & real[None, :], 0).to(tl.float32)
        dweight = tl.sum(x * dfound[None, :], 1)
        if WEIGHTS:
            dweight += tl.load(dweights + row * dweights_row + s, weight != 0, 0).to(tl.float32)
        mean += tl.sum(weight * dweight, 0)
        tl.store(gathered + row * S + s, dweight, s < S)
    tl.debug_barrier()  # other threads read what these have written
    q = tl.load(query + row * query_row + d, real, 0).to(tl.float32)
    dq = tl.zeros([BLOCK_D], tl.float32)
    if ADDITIVE:
        v_D = tl.load(v + d, real, 0).to(tl.float32)
        dv_D = tl.load(dv + row * D + d, real, 0)
    for start in range(0, S, BLOCK_S):
        s = start + tl.arange(0, BLOCK_S)
        weight = tl.load(weights + row * weights_row + s, s < S, 0).to(tl.float32)
        dscore = weight * (tl.load(gathered + row * S + s, s < S, 0) - mean)
        tl.store(dscores + row * dscores_row + s, dscore.to(dscores.dtype.element_ty), s < S)
        live = (weight != 0)[:, None] & real[None, :]
        at = keys + row * keys_row + s.to(tl.int64)[:, None] * keys_step + d[None, :]
        k = tl.load(at, live, 0).to(tl.float32)
        if ADDITIVE:
            t = tanh(k + q[None, :])
            dv_D += tl.sum(dscore[:, None] * t, 0)
            dsum = dscore[:, None] * v_D[None, :] * (1 - t * t)
            to = dkeys + (row * S + s)[:, None] * D + d[None, :]
            tl.store(to, tl.load(to, live, 0) + dsum, live)
            dq += tl.sum(dsum, 0)
        else:
            dq += tl.sum(dscore[:, None] * k, 0)
    if ADDITIVE:
        tl.store(dv + row * D + d, dv_D, real)
    elif BOUNDED:
        t_D = tanh(q)
        dq *= 1 - t_D * t_D
    tl.store(dquery + row * dquery_row + d, dq.to(dquery.dtype.element_ty), real)


def attend(query_RD: Tensor, source: Source, weights_RS: Tensor, context_RD: Tensor) -> None:
    """Compute the attention's weights, 0 on padding, and the means of the source by them.

    A sentence of padding only has weights and a context of 0.

    Args:
        query_RD: the projected queries: equally many for each sentence, side by side; float32,
            bfloat16 or float16, as all other tensors.
        source: what they read; in every tensor the numbers of a row lie side by side.
        weights_RS: filled with the weights.
        context_RD: filled with the means.
    """
    rows, (sentences, positions) = len(query_RD), source.pad_BS.shape
    if not rows:
        return
    scores_RS = query_RD.new_empty(rows, positions, dtype=torch.float32)
    v = query_RD if source.v_D is None else source.v_D
    read = (query_RD, source.keys_BSD, source.source_BSD, source.pad_BS.contiguous(), v)
    _attend[(rows,)](
        *read, scores_RS, weights_RS, context_RD, rows // sentences, *_sizes(query_RD, source),
        weights_RS.stride(0), context_RD.stride(0), **_blocks(source),
    )  # fmt: skip


def attend_backward(
    query_BD: Tensor,
    source: Source,
    weights_BS: Tensor,
    dcontext_BD: Tensor,
    dweights_BS: Tensor | None,
    dscores_BS: Tensor,
    dquery_BD: Tensor,
    dkeys_BSD: Tensor | None,
    dv_BD: Tensor | None,
) -> None:
    """Compute the gradients of :func:`attend`, with one query for each sentence.

    Args:
        query_BD: as there.
        source: likewise.
        weights_BS: what it has found.
        dcontext_BD: the gradient of the context.
        dweights_BS: that of the weights; None: zeros.
        dscores_BS: filled with the gradient of the scores.
        dquery_BD: filled with that of the queries.
        dkeys_BSD: of additive attention: the gradient of the keys is added; float32, contiguous.
        dv_BD: likewise, that of ``V`` for each sentence.
    """
    if not len(query_BD):
        return
    gathered_BS = query_BD.new_empty(source.pad_BS.shape, dtype=torch.float32)
    read = (query_BD, source.keys_BSD, source.source_BSD)
    more = [query_BD if x is None else x for x in (dweights_BS, dkeys_BSD, dv_BD, source.v_D)]
    dweights, dkeys, dv, v = more
    by_row = (weights_BS, dcontext_BD, dweights, dscores_BS, dquery_BD)
    _attend_backward[(len(query_BD),)](
        *read, v, weights_BS, dcontext_BD, dweights, gathered_BS, dscores_BS, dquery_BD, dkeys, dv,
        *_sizes(query_BD, source), *(x.stride(0) for x in by_row),
        WEIGHTS=dweights_BS is not None, **_blocks(source),
    )  # fmt: skip


def _sizes(query_RD: Tensor, source: Source) -> tuple[int, ...]:
    _, positions, dim = source.keys_BSD.shape
    strides = (*source.keys_BSD.stride()[:2], *source.source_BSD.stride()[:2])
    return positions, dim, query_RD.stride(0), *strides


def _blocks(source: Source) -> dict[str, Any]:
    _, positions, dim = source.keys_BSD.shape
    width = triton.next_power_of_2(dim)
    length = max(1, min(_NUMBERS // width, triton.next_power_of_2(positions)))
    return {
        "ADDITIVE": source.v_D is not None,
        "BOUNDED": source.bounded,
        "BLOCK_S": length,
        "BLOCK_D": width,
        "num_warps": 4 if width <= _NUMBERS else 8,
    }
