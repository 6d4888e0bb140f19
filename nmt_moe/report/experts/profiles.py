"""The profile of each expert: its most typical tokens, its labels, and the most similar experts."""

from typing import Any

import numpy as np
import torch

from nmt_moe.report.experts.counting import Cells, place_in_group
from nmt_moe.report.experts.text import Spelling

_TYPICAL = 10
_LABELS = 10
_LEAST = 2  # occurrences of a typical token
_NEAREST = 5
_BLOCK = 256  # experts that are compared with all others at once


def typical(cells: Cells, experts: int, spelling: Spelling) -> list[list[dict[str, Any]]]:
    """For each expert the tokens that add most to the mutual information of experts and tokens.

    Args:
        cells: counts of experts and tokens.
        experts: the number of experts.
        spelling: of the tokens.

    Returns:
        At most ten tokens for each expert, which it got at least twice, by ``share * log2(share /
        base)``, descending and above 0; ``share`` is ``p(token | expert)`` and ``base`` is
        ``p(token)``.
    """
    share_C, base_C = _shares(cells, experts)
    adds_C = share_C * np.log2(share_C / base_C)
    at_C = np.flatnonzero((adds_C > 0) & (cells.count_C >= _LEAST))
    at_C = at_C[np.lexsort((cells.column_C[at_C], -adds_C[at_C], cells.row_C[at_C]))]
    at_C = at_C[place_in_group(cells.row_C[at_C]) < _TYPICAL]
    found: list[list[dict[str, Any]]] = [[] for _ in range(experts)]
    for at in at_C:
        found[cells.row_C[at]].append({
            "token": spelling.piece(cells.column_C[at]),
            "count": int(cells.count_C[at]),
            "share": float(share_C[at]),
            "base": float(base_C[at]),
        })  # fmt: skip
    return found


def labels(cells: Cells, experts: int, names: list[str]) -> list[list[dict[str, Any]]]:
    """For each expert its ten most frequent labels, with their share of all assignments.

    Args:
        cells: counts of experts and labels.
        experts: how many there are.
        names: of the labels.
    """
    share_C, base_C = _shares(cells, experts)
    at_C = np.lexsort((cells.column_C, -share_C, cells.row_C))
    at_C = at_C[place_in_group(cells.row_C[at_C]) < _LABELS]
    found: list[list[dict[str, Any]]] = [[] for _ in range(experts)]
    for at in at_C:
        found[cells.row_C[at]].append({
            "label": names[cells.column_C[at]],
            "share": float(share_C[at]),
            "base": float(base_C[at]),
        })  # fmt: skip
    return found


def _shares(cells: Cells, experts: int) -> tuple[np.ndarray, np.ndarray]:
    """``p(column | row)`` and ``p(column)`` of each cell."""
    base_X = cells.columns() / max(1, cells.count_C.sum())
    return cells.count_C / cells.rows(experts)[cells.row_C], base_X[cells.column_C]


def nearest(cells: Cells, experts: int) -> list[list[dict[str, Any]]]:
    """For each expert the five with the most similar tokens, by the cosine of their counts, if
    above 0.

    Args:
        cells: counts of experts and tokens.
        experts: the number of experts.
    """
    _, column_C = np.unique(cells.column_C, return_inverse=True)
    columns = int(column_C.max(initial=0)) + 1
    length_E = np.sqrt(np.bincount(cells.row_C, cells.count_C.astype(float) ** 2, experts))
    weight_C = cells.count_C / length_E[cells.row_C]
    profiles_EX = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([cells.row_C, column_C])),
        torch.from_numpy(weight_C),
        (experts, columns),
        is_coalesced=True,
        check_invariants=True,
    )
    found: list[list[dict[str, Any]]] = []
    for start in range(0, experts, _BLOCK):
        block_FX = torch.zeros(min(_BLOCK, experts - start), columns, dtype=torch.float64)
        of_block = slice(*np.searchsorted(cells.row_C, [start, start + len(block_FX)]))
        block_FX.numpy()[cells.row_C[of_block] - start, column_C[of_block]] = weight_C[of_block]
        cosine_EF = torch.sparse.mm(profiles_EX, block_FX.t())
        own_F = torch.arange(len(block_FX))
        cosine_EF[start + own_F, own_F] = 0  # none is its own neighbour
        cosine_FN, expert_FN = cosine_EF.t().topk(min(_NEAREST, experts), dim=1)
        found += [
            [
                {"expert": expert, "similarity": min(1.0, round(cosine, 6))}
                for expert, cosine in zip(expert_N, cosine_N, strict=True)
                if cosine > 0
            ]
            for expert_N, cosine_N in zip(expert_FN.tolist(), cosine_FN.tolist(), strict=True)
        ]
    return found
