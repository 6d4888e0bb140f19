"""Label-smoothed cross entropy without copies of the logits, and how far two passes differ."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt_moe.kernels import gpu
from nmt_moe.kernels.cpu import loss as kernel

_NUMBERS = 1 << 20  # of a part of the logits that is worked on at once: it stays in the cache


def smoothed_cross_entropy(
    logits_NV: Tensor, target_N: Tensor, epsilon: float, padding: int, owned: bool = False
) -> tuple[Tensor, Tensor]:
    """fairseq's ``label_smoothed_nll_loss`` of ``log_softmax(logits_NV)``.

    Only the gradient takes ``N*V`` numbers of memory; autograd would take five times as many, and
    more time than the matrix products where the vocabulary is large. On a GPU the gradient of
    logits that are owned takes none.

    Args:
        logits_NV: floating point; computed in float32 at least.
        target_N: int64.
        epsilon: the probability that is taken from the target and spread over all other symbols.
        padding: the target of rows that are ignored.
        owned: nobody reads the logits later. A backward pass that keeps no graph may then write
            the gradient in their place.

    Returns:
        The loss, differentiable, and the negative log likelihood of the targets; 0-d sums in nats.
    """
    if gpu.can_move(logits_NV):
        from nmt_moe.kernels.gpu.loss import cross_entropy

        return cross_entropy(logits_NV, target_N, epsilon, padding, owned)
    loss, nll, _ = _SmoothedCrossEntropy.apply(logits_NV, target_N, epsilon, padding, None, 0)
    return loss, nll


def with_divergence(
    logits_NV: Tensor, target_N: Tensor, epsilon: float, padding: int, weight: float, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`smoothed_cross_entropy` of two passes, and ``KL(p || q) + KL(q || p)`` of each pair.

    Args:
        logits_NV: sentences of ``steps`` rows each, the two passes of a sentence side by side.
        target_N: both passes have the same.
        epsilon: as there.
        padding: likewise.
        weight: of the divergences in the loss.
        steps: the rows of a sentence.

    Returns:
        Cross entropy plus the weighted divergences, differentiable, the negative log likelihood of
        the targets, and the divergences without their weight; 0-d sums in nats.
    """
    return _SmoothedCrossEntropy.apply(logits_NV, target_N, epsilon, padding, weight, steps)


class _SmoothedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits_NV, target_N, epsilon, padding, weight, steps):
        real_N = target_N != padding
        ctx.in_c, ctx.weight, ctx.steps = kernel.usable(logits_NV), weight, steps
        if ctx.in_c:
            if ((target_N < 0) | (target_N >= logits_NV.shape[1])).logical_and_(real_N).any():
                raise IndexError(f"a target is none of the {logits_NV.shape[1]} columns")
            target_N = target_N.masked_fill(~real_N, -1)
            ctx.dtype = torch.float32
            logsumexp_N, nll_N, all_N, apart_N = kernel.forward(logits_NV, target_N, steps)
            ctx.save_for_backward(logits_NV, target_N, logsumexp_N, apart_N)
        else:
            ctx.dtype = torch.promote_types(logits_NV.dtype, torch.float32)
            nll_N, all_N = _losses(logits_NV, target_N, ctx.dtype)
            nll_N, all_N = nll_N * real_N, all_N * real_N
            apart_N = _divergences(logits_NV, real_N, ctx.dtype, steps) if steps else None
            ctx.save_for_backward(logits_NV, target_N, real_N, apart_N)
        ctx.other = epsilon / (logits_NV.shape[1] - 1)
        ctx.correct = 1 - epsilon - ctx.other
        nll = nll_N.sum()
        loss = ctx.correct * nll + ctx.other * all_N.sum()
        if apart_N is None:
            ctx.mark_non_differentiable(nll)
            return loss, nll, None
        apart = apart_N.sum()
        ctx.mark_non_differentiable(nll, apart)
        return loss + weight * apart, nll, apart

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, *_):
        if ctx.in_c:
            logits_NV, target_N, logsumexp_N, apart_N = ctx.saved_tensors
            scale = float(grad)
            factors = {"scale": scale, "correct": ctx.correct, "other": ctx.other}
            if apart_N is not None:
                factors |= {"apart": scale * ctx.weight, "steps": ctx.steps}
            grad_NV = kernel.gradient(logits_NV, target_N, logsumexp_N, apart_N, **factors)
            return grad_NV, None, None, None, None, None
        logits_NV, target_N, real_N, apart_N = ctx.saved_tensors
        grad_NV = torch.empty_like(logits_NV)
        scale_N1 = (real_N * grad).to(ctx.dtype).unsqueeze(1)
        for rows in _parts(logits_NV):
            # The factors of the probabilities add up to 1.
            part_NV = logits_NV[rows].softmax(1, dtype=ctx.dtype).sub_(ctx.other)
            at_N1 = target_N[rows].unsqueeze(1)
            part_NV.scatter_add_(1, at_N1, part_NV.new_full(at_N1.shape, -ctx.correct))
            grad_NV[rows] = part_NV.mul_(scale_N1[rows])
        if apart_N is not None:
            _add_gradients(grad_NV, logits_NV, apart_N, ctx.weight * scale_N1, ctx.steps)
        return grad_NV, None, None, None, None, None


def _losses(logits_NV: Tensor, target_N: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """``[N]`` each: minus the logarithm of the target's probability, and their sum over all."""
    nll_N, all_N = (torch.empty_like(target_N, dtype=dtype) for _ in range(2))
    for rows in _parts(logits_NV):
        log_NV = logits_NV[rows].log_softmax(1, dtype=dtype)
        nll_N[rows] = -log_NV.gather(1, target_N[rows].unsqueeze(1)).squeeze(1)
        all_N[rows] = -log_NV.sum(1)
    return nll_N, all_N


def _divergences(logits_NV: Tensor, real_N: Tensor, dtype: torch.dtype, steps: int) -> Tensor:
    """``[N]``: ``KL(p || q)``, where ``q`` is the distribution of the row's pair."""
    both_B2LV = _pairs(logits_NV, steps)
    apart_B2L = torch.empty(both_B2LV.shape[:3], dtype=dtype, device=logits_NV.device)
    for some in _parts(both_B2LV.flatten(1)):
        log_B2LV = both_B2LV[some].log_softmax(3, dtype=dtype)
        apart_B2L[some] = (log_B2LV.exp() * (log_B2LV - log_B2LV.flip(1))).sum(3)
    return apart_B2L.flatten() * real_N


def _add_gradients(
    grad_NV: Tensor, logits_NV: Tensor, apart_N: Tensor, weight_N1: Tensor, steps: int
) -> None:
    """Add ``p (log p - log q - KL(p || q)) + p - q``, the gradient of both divergences."""
    both_B2LV, grad_B2LV = _pairs(logits_NV, steps), _pairs(grad_NV, steps)
    apart_B2L1, weight_B2L1 = _pairs(apart_N.unsqueeze(1), steps), _pairs(weight_N1, steps)
    for some in _parts(both_B2LV.flatten(1)):
        log_B2LV = both_B2LV[some].log_softmax(3, dtype=apart_N.dtype)
        p_B2LV = log_B2LV.exp()
        d_B2LV = p_B2LV * (log_B2LV - log_B2LV.flip(1) - apart_B2L1[some])
        d_B2LV += p_B2LV - p_B2LV.flip(1)
        grad_B2LV[some] += (weight_B2L1[some] * d_B2LV).to(grad_NV.dtype)


def _pairs(x_NI: Tensor, steps: int) -> Tensor:
    """``[B, 2, L, I]``: sentences, their two passes, steps."""
    return x_NI.view(len(x_NI) // (2 * steps), 2, steps, x_NI.shape[1])


def _parts(logits_NV: Tensor) -> list[slice]:
    """Slices of a few rows each."""
    rows, vocabulary = logits_NV.shape
    size = rows if logits_NV.is_cuda else max(1, _NUMBERS // vocabulary)
    return [slice(start, start + size) for start in range(0, rows, max(size, 1))]
