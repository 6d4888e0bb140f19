"""Independent, slow evaluations of the layer's formulas, token by token."""

import math

import torch
from torch import Tensor


def naive_layer(x_TD: Tensor, noisy_TE: Tensor, w_in: Tensor, w_out: Tensor, k: int) -> Tensor:
    """``sum_i G(x)_i E_i(x)`` one token at a time, given the (noisy) logits."""
    rows = []
    for x_D, logits_E in zip(x_TD, noisy_TE, strict=True):
        chosen = sorted(range(len(logits_E)), key=lambda e: -logits_E[e].item())[:k]
        gates = torch.softmax(torch.stack([logits_E[e] for e in chosen]), 0)
        row = torch.zeros_like(x_D)
        for gate, e in zip(gates, chosen, strict=True):
            row = row + gate * (torch.relu(x_D @ w_in[e]) @ w_out[e])
        rows.append(row)
    return torch.stack(rows)


def naive_importance(noisy_TE: Tensor, k: int) -> Tensor:
    """The sum over tokens of the sparse gates."""
    total = torch.zeros(noisy_TE.shape[1], dtype=noisy_TE.dtype)
    for logits_E in noisy_TE:
        chosen = sorted(range(len(logits_E)), key=lambda e: -logits_E[e].item())[:k]
        gates = torch.softmax(torch.stack([logits_E[e] for e in chosen]), 0)
        for gate, e in zip(gates, chosen, strict=True):
            total = total + gate * torch.nn.functional.one_hot(torch.tensor(e), len(total))
    return total


def naive_load(clean_TE: Tensor, noisy_TE: Tensor, stddev_TE: Tensor, k: int) -> Tensor:
    """Appendix A by the letter: drop entry i, take the k-th largest of the rest."""
    tokens, experts = clean_TE.shape
    total = [torch.zeros((), dtype=clean_TE.dtype) for _ in range(experts)]
    for t in range(tokens):
        for i in range(experts):
            if k == experts:
                total[i] = total[i] + 1
                continue
            others = torch.cat([noisy_TE[t, :i], noisy_TE[t, i + 1 :]])
            bar = others.sort(descending=True).values[k - 1]
            z = (clean_TE[t, i] - bar) / stddev_TE[t, i]
            total[i] = total[i] + 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    return torch.stack(total)
