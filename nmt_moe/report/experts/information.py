"""Mutual information of experts and their input, in bits.

All probabilities are over assignments: ``p(expert, x)`` is the share of all assignments that send
an ``x`` to the expert.
"""

import math
from collections.abc import Iterator

import numpy as np

from nmt_moe.report.experts.counting import Cells, Ints

_DRAWABLE = 10**9  # numpy draws exactly from fewer than this


def information(cells: Cells, experts: int) -> dict[str, float]:
    """The mutual information of the rows of a matrix of counts, which are experts, and its columns.

    Returns:
        In bits: ``bits``, ``I(expert; x)``; ``shuffled``, the same after a random permutation of
        the ``x`` among all assignments, which is the bias of so few counts; and the entropies
        ``entropy`` of ``x`` and ``experts_entropy``.
    """
    count_E, count_X = cells.rows(experts), cells.columns()
    count_X = count_X[count_X > 0]
    of_experts, of_columns = _entropy(count_E), _entropy(count_X)
    both = of_experts + of_columns
    total = int(count_E.sum())
    chance = sum(map(_n_log_n, _shuffled(count_E, count_X, np.random.default_rng(1))))
    return {
        "bits": max(0.0, both - _entropy(cells.count_C)),
        "shuffled": max(0.0, both - (math.log2(total) - chance / total)) if total else 0.0,
        "entropy": of_columns,
        "experts_entropy": of_experts,
    }


def _entropy(count_C: Ints) -> float:
    total = int(count_C.sum())
    return math.log2(total) - _n_log_n(count_C) / total if total else 0.0


def _n_log_n(count_C: Ints) -> float:
    count_C = count_C[count_C > 0]
    return float((count_C * np.log2(count_C)).sum())


def _shuffled(count_E: Ints, count_X: Ints, rng: np.random.Generator) -> Iterator[Ints]:
    """Draw the non-zero counts of each expert after a random permutation, from the sums alone.

    The experts are split in half recursively, and each half gets a random choice of its number of
    assignments. After a few splits most counts are 0, so the time grows with the non-zero cells
    instead of experts times columns.
    """
    if len(count_E) == 1:
        yield count_X
        return
    half = len(count_E) // 2
    total = int(count_X.sum())
    share = count_E[:half].sum() / max(1, count_E.sum())
    if total < _DRAWABLE:
        first_X = rng.multivariate_hypergeometric(count_X, round(total * share), method="marginals")
    else:  # of so many, draws with replacement are as good
        first_X = rng.binomial(count_X, share)
    for part_E, part_X in ((count_E[:half], first_X), (count_E[half:], count_X - first_X)):
        yield from _shuffled(part_E, part_X[part_X > 0], rng)
