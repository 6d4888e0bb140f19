"""Losses of rows of logits on a GPU, and their gradient, in Triton: one pass over the logits each.

Of any vocabulary; NaN and Inf come out as torch's ``log_softmax`` has them.
"""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmt_moe.kernels.operators import operator

_CONFIG = dict(COLUMNS=4096, num_warps=8)


@triton.jit
def _losses(
    logits, target, chosen, logsumexp, nll, total, V, stride, padding, UNIT: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    real = tl.load(target + row) != padding
    V *= UNIT
    logits += row * stride * UNIT
    # A row may begin with -inf, whose distance from itself is NaN.
    top = tl.full([], -3.0e38, tl.float32)
    exps = tl.zeros([COLUMNS], tl.float32)
    sums = tl.zeros([COLUMNS], tl.float32)
    for start in range(0, tl.where(real, V, 0), COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        inside = columns < V
        x = tl.load(logits + columns, inside, -float("inf")).to(tl.float32)
        higher = tl.maximum(top, tl.max(x, 0))
        exps = exps * tl.exp(top - higher) + tl.exp(x - higher)
        sums += tl.where(inside, x, 0)
        top = higher
    log = top + tl.log(tl.sum(exps, 0))
    tl.store(logsumexp + row, tl.where(real, log, 0))
    tl.store(nll + row, tl.where(real, log - tl.load(chosen + row).to(tl.float32), 0))
    tl.store(total + row, tl.where(real, log * V - tl.sum(sums, 0), 0))


@triton.jit
def _gradients(
    logits, target, logsumexp, scale, out, V, stride, out_stride, padding, correct, other,
    UNIT: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.load(target + row)
    log = tl.load(logsumexp + row)
    factor = tl.load(scale)
    V *= UNIT
    logits += row * stride * UNIT
    out += row * out_stride * UNIT
    for start in range(0, V, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        inside = columns < V
        x = tl.load(logits + columns, inside, 0).to(tl.float32)
        # The factors of the probabilities add up to 1.
        grad = tl.exp(x - log) - other - tl.where(columns == at, correct, 0)
        grad = tl.where(at == padding, 0, factor * grad)
        tl.store(out + columns, grad.to(out.dtype.element_ty), inside)


def cross_entropy(
    logits_NV: Tensor, target_N: Tensor, epsilon: float, padding: int, owned: bool
) -> tuple[Tensor, Tensor]:
    """The smoothed loss, differentiable, and the negative log likelihood, summed in float32.

    Args:
        logits_NV: bfloat16, float16 or float32.
        target_N: int64. One that is no column fails as an index of torch's does.
        epsilon: the probability that is taken from the target and spread over all other columns.
        padding: the target of rows without a loss and with a gradient of 0.
        owned: nobody reads the logits later. A backward pass that keeps no graph then writes the
            gradient in their place.
    """
    logits_NV = logits_NV if logits_NV.stride(1) == 1 else logits_NV.contiguous()
    loss, nll, _ = _cross_entropy(logits_NV, target_N.contiguous(), epsilon, padding, owned)
    return loss, nll


def gpu_cross_entropy(
    logits_NV: Tensor, target_N: Tensor, epsilon: float, padding: int, owned: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Both, and ``[N]``: the logarithm of the sum of exponentials."""
    rows, vocabulary = logits_NV.shape
    chosen_N1 = logits_NV.gather(1, target_N.masked_fill(target_N == padding, 0).unsqueeze(1))
    logsumexp_N, nll_N, all_N = chosen_N1.new_empty(3, rows, dtype=torch.float32)
    if rows:
        unit = _unit(vocabulary, logits_NV)
        _losses[(rows,)](
            logits_NV,
            target_N,
            chosen_N1,
            logsumexp_N,
            nll_N,
            all_N,
            vocabulary // unit,
            logits_NV.stride(0) // unit,
            padding,
            unit,
            **_CONFIG,
        )
    correct, other = _factors(epsilon, vocabulary)
    nll = nll_N.sum()
    return correct * nll + other * all_N.sum(), nll, logsumexp_N


def gpu_cross_entropy_backward(
    out_NV: Tensor,
    scale: Tensor,
    logits_NV: Tensor,
    target_N: Tensor,
    logsumexp_N: Tensor,
    epsilon: float,
    padding: int,
) -> None:
    """Write the gradient, times ``scale``, into ``out_NV``, which may be the logits."""
    rows, vocabulary = logits_NV.shape
    if rows:
        unit = _unit(vocabulary, logits_NV, out_NV)
        _gradients[(rows,)](
            logits_NV,
            target_N,
            logsumexp_N,
            scale,
            out_NV,
            vocabulary // unit,
            logits_NV.stride(0) // unit,
            out_NV.stride(0) // unit,
            padding,
            *_factors(epsilon, vocabulary),
            unit,
            **_CONFIG,
        )


def _factors(epsilon: float, vocabulary: int) -> tuple[float, float]:
    """What the target is taught more than the other columns, and what each of these is."""
    other = epsilon / (vocabulary - 1)
    return 1 - epsilon - other, other


def _unit(vocabulary: int, *rows: Tensor) -> int:
    """A common divisor of the sizes: a load is as wide. Triton looks for 16 alone, and fairseq's
    vocabularies are multiples of 8."""
    return math.gcd(8, vocabulary, *(x.stride(0) for x in rows))


def _fake(logits_NV: Tensor, *_: Any) -> tuple[Tensor, ...]:
    return tuple(logits_NV.new_empty(s, dtype=torch.float32) for s in ((), (), len(logits_NV)))


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    logits_NV, target_N, ctx.epsilon, ctx.padding, ctx.owned = inputs
    ctx.save_for_backward(logits_NV, target_N, output[2])
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, scale: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if scale is None:
        return None, None, None, None, None
    logits_NV, *saved = (x.detach() for x in ctx.saved_tensors)
    once = ctx.owned and not torch.compiler.is_compiling() and not _keeps_graph()
    out_NV = logits_NV if once else torch.empty_like(logits_NV)
    _write_gradient(out_NV, scale, logits_NV, *saved, ctx.epsilon, ctx.padding)
    return out_NV, None, None, None, None


_keeps_graph = torch._C._autograd._get_current_graph_task_keep_graph
_write_gradient = operator(gpu_cross_entropy_backward, lambda *_: None, mutates=("out_NV",))
_cross_entropy = operator(gpu_cross_entropy, _fake, save=_save, backward=_backward)
