"""What a batch did to the experts: measures of balance (section 4, appendix A)."""

import torch
from torch import Tensor


def cv_squared(v: Tensor) -> Tensor:
    """Squared coefficient of variation of a vector: population variance / mean^2, 0-d.

    A vector of zeros, as a batch without tokens makes, is perfectly balanced: 0.
    """
    mean = v.mean()
    variance = (v - mean).square().mean()
    return variance / torch.where(mean == 0, torch.ones_like(mean), mean.square())


def max_over_mean(v: Tensor) -> Tensor:
    """The largest entry over the mean, 0-d: 1 is perfect balance. 1 for a vector of zeros."""
    mean = v.mean()
    return torch.where(mean == 0, torch.ones_like(mean), v.max() / mean)


def load_probability(clean_TE: Tensor, noisy_TE: Tensor, stddev_TE: Tensor, top_k: int) -> Tensor:
    """``P(x, i)``: how probably expert ``i`` is chosen if only its own noise is drawn again.

    Appendix A: ``Phi((clean_i - kth_excluding(noisy, k, i)) / stddev_i)``, where
    ``kth_excluding`` is the k-th largest of the other entries. All arguments are
    ``[T, E]`` logits; the result is ``[T, E]`` and differentiable in each of them.
    """
    num_experts = clean_TE.shape[1]
    if top_k == num_experts:
        return torch.ones_like(clean_TE)
    top_TK, index_TK = noisy_TE.topk(top_k + 1, dim=1)
    # An expert inside the top k has to stay above the (k+1)-th; one outside, to pass the k-th.
    chosen_TE = torch.zeros_like(noisy_TE, dtype=torch.bool)
    chosen_TE.scatter_(1, index_TK[:, :top_k], True)
    bar_TE = torch.where(chosen_TE, top_TK[:, top_k:], top_TK[:, top_k - 1 : top_k])
    # softplus can underflow to 0; the floor keeps the quotient and its gradient finite.
    return torch.special.ndtr((clean_TE - bar_TE) / stddev_TE.clamp_min(1e-10))
