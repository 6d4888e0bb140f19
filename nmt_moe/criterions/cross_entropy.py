"""Label-smoothed cross entropy without copies of the logits."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt_moe.kernels.cpu import loss as kernel

_NUMBERS = 1 << 20  # of a part of the logits that is worked on at once: it stays in the cache


def smoothed_cross_entropy(
    logits_NV: Tensor, target_N: Tensor, epsilon: float, padding: int
) -> tuple[Tensor, Tensor]:
    """fairseq's ``label_smoothed_nll_loss`` of ``log_softmax(logits_NV)``.

    Only the gradient takes ``N*V`` numbers of memory; autograd would take five times as many, and
    more time than the matrix products where the vocabulary is large.

    Args:
        logits_NV: floating point; computed in float32 at least.
        target_N: int64.
        epsilon: the probability that is taken from the target and spread over all other symbols.
        padding: the target of rows that are ignored.

    Returns:
        The loss, differentiable, and the negative log likelihood of the targets; 0-d sums in nats.
    """
    return _SmoothedCrossEntropy.apply(logits_NV, target_N, epsilon, padding)


class _SmoothedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits_NV, target_N, epsilon, padding):
        real_N = target_N != padding
        ctx.in_c = kernel.usable(logits_NV)
        if ctx.in_c:
            if ((target_N < 0) | (target_N >= logits_NV.shape[1])).logical_and_(real_N).any():
                raise IndexError(f"a target is none of the {logits_NV.shape[1]} columns")
            target_N = target_N.masked_fill(~real_N, -1)
            ctx.dtype = torch.float32
            logsumexp_N, nll_N, all_N = kernel.forward(logits_NV, target_N)
            ctx.save_for_backward(logits_NV, target_N, logsumexp_N)
        else:
            ctx.dtype = torch.promote_types(logits_NV.dtype, torch.float32)
            nll_N, all_N = _losses(logits_NV, target_N, ctx.dtype)
            nll_N, all_N = nll_N * real_N, all_N * real_N
            ctx.save_for_backward(logits_NV, target_N, real_N)
        ctx.other = epsilon / (logits_NV.shape[1] - 1)
        ctx.correct = 1 - epsilon - ctx.other
        nll = nll_N.sum()
        ctx.mark_non_differentiable(nll)
        return ctx.correct * nll + ctx.other * all_N.sum(), nll

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _):
        if ctx.in_c:
            logits_NV, target_N, logsumexp_N = ctx.saved_tensors
            factors = {"scale": float(grad), "correct": ctx.correct, "other": ctx.other}
            found = kernel.gradient(logits_NV, target_N, logsumexp_N, **factors)
            return found, None, None, None
        logits_NV, target_N, real_N = ctx.saved_tensors
        grad_NV = torch.empty_like(logits_NV)
        scale_N1 = (real_N * grad).to(ctx.dtype).unsqueeze(1)
        for rows in _parts(logits_NV):
            # The factors of the probabilities add up to 1.
            part_NV = logits_NV[rows].softmax(1, dtype=ctx.dtype).sub_(ctx.other)
            at_N1 = target_N[rows].unsqueeze(1)
            part_NV.scatter_add_(1, at_N1, part_NV.new_full(at_N1.shape, -ctx.correct))
            grad_NV[rows] = part_NV.mul_(scale_N1[rows])
        return grad_NV, None, None, None


def _losses(logits_NV: Tensor, target_N: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """``[N]`` each: minus the logarithm of the target's probability, and their sum over all."""
    nll_N, all_N = (torch.empty_like(target_N, dtype=dtype) for _ in range(2))
    for rows in _parts(logits_NV):
        log_NV = logits_NV[rows].log_softmax(1, dtype=dtype)
        nll_N[rows] = -log_NV.gather(1, target_N[rows].unsqueeze(1)).squeeze(1)
        all_N[rows] = -log_NV.sum(1)
    return nll_N, all_N


def _parts(logits_NV: Tensor) -> list[slice]:
    """Slices of a few rows each."""
    rows, vocabulary = logits_NV.shape
    size = rows if logits_NV.is_cuda else max(1, _NUMBERS // vocabulary)
    return [slice(start, start + size) for start in range(0, rows, max(size, 1))]
