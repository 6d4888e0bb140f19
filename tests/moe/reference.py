"""Independent, slow evaluations of the layer's formulas, token by token."""

import math

import torch
from torch import Tensor


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


def naive_top_k(logits_E: Tensor, k: int) -> dict[int, Tensor]:
    """The gates of one token by expert."""
    chosen = sorted(range(len(logits_E)), key=lambda e: -logits_E[e].item())[:k]
    gates = torch.softmax(torch.stack([logits_E[e] for e in chosen]), 0)
    return dict(zip(chosen, gates, strict=True))


def naive_balanced(g_RE: Tensor, k: int) -> list[list[int]]:
    """Appendix F: the experts that took each row, when each takes its best, the first of equals."""
    rows, experts = g_RE.shape
    m = min(rows, max(1, int(k * rows / experts + 0.5)))
    taken: list[list[int]] = [[] for _ in range(rows)]
    for e in range(experts):
        for row in sorted(range(rows), key=lambda r: -g_RE[r, e].item())[:m]:
            taken[row].append(e)
    return taken


def naive_threshold_loss(g_RE: Tensor, threshold_RE: Tensor, taken: list[list[int]]) -> Tensor:
    """``sum (M_threshold - M_batchwise) * (g - threshold)``, term by term."""
    total = torch.zeros((), dtype=g_RE.dtype)
    for row, experts in enumerate(taken):
        for e in range(g_RE.shape[1]):
            margin = g_RE[row, e] - threshold_RE[row, e]
            total = total + (float(margin > 0) - float(e in experts)) * margin
    return total


def naive_shares(g_E: Tensor, experts: list[int]) -> dict[int, Tensor]:
    """``g_i M_i / sum_j g_j M_j`` of one row, for the experts with ``M_i = 1``."""
    total = sum(g_E[e] for e in experts)
    return {e: g_E[e] / total for e in experts}


def naive_mixture(x_TD: Tensor, gates: list[dict[int, Tensor]], w_in: Tensor, w_out: Tensor):
    """The output and the importance, given each token's gates by expert."""
    importance = torch.zeros(len(w_in), dtype=x_TD.dtype)
    rows = []
    for x_D, by_expert in zip(x_TD, gates, strict=True):
        row = torch.zeros_like(x_D)
        for e, gate in by_expert.items():
            row = row + gate * (torch.relu(x_D @ w_in[e]) @ w_out[e])
            importance = importance + gate * torch.nn.functional.one_hot(
                torch.tensor(e), len(importance)
            )
        rows.append(row)
    return torch.stack(rows), importance
