import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt_moe.report.experts import information as module
from nmt_moe.report.experts.counting import Cells, PairCounts
from nmt_moe.report.experts.information import information


def cells_of(matrix: np.ndarray) -> Cells:
    row_C, column_C = np.nonzero(matrix)
    return Cells(row_C, column_C, matrix[row_C, column_C])


def naive(matrix: np.ndarray) -> float:
    p = matrix / matrix.sum()
    rows, columns = p.sum(1), p.sum(0)
    return sum(
        p[e, x] * math.log2(p[e, x] / (rows[e] * columns[x]))
        for e, x in zip(*p.nonzero(), strict=True)
    )


MATRICES = st.integers(0, 2**32 - 1).map(
    lambda seed: (lambda rng: rng.poisson(rng.random() * 3, (rng.integers(1, 9), 7)))(
        np.random.default_rng(seed)
    )
).filter(lambda matrix: matrix.sum() > 0)  # fmt: skip


@given(MATRICES)
def test_is_the_sum_of_the_definition(matrix) -> None:
    found = information(cells_of(matrix), len(matrix))
    assert found["bits"] == pytest.approx(naive(matrix), abs=1e-9)
    for name, counts in (("entropy", matrix.sum(0)), ("experts_entropy", matrix.sum(1))):
        p = counts[counts > 0] / matrix.sum()
        assert found[name] == pytest.approx(-(p * np.log2(p)).sum(), abs=1e-9)
    assert 0 <= found["bits"] <= min(found["entropy"], found["experts_entropy"]) + 1e-9


def test_experts_by_class_of_token_say_the_entropy_of_the_classes() -> None:
    rng = np.random.default_rng(0)
    token_A = rng.integers(0, 64, 200_000)
    counts = PairCounts()
    counts.add(token_A % 4, token_A)
    p = np.bincount(token_A % 4) / len(token_A)
    found = information(counts.cells(), 4)
    assert found["bits"] == pytest.approx(-(p * np.log2(p)).sum(), abs=1e-6)
    assert found["bits"] == pytest.approx(2, abs=1e-3)

    # Labels that know nothing of the experts: what chance makes of so many.
    shuffled = PairCounts()
    shuffled.add(token_A % 4, rng.permutation(token_A % 8))
    found = information(shuffled.cells(), 4)
    chance = 3 * 7 / (2 * len(token_A) * math.log(2))  # the expected bias of so many counts
    assert 0 < found["bits"] < 3 * chance and 0 < found["shuffled"] < 3 * chance


@given(MATRICES, st.integers(0, 99))
def test_a_shuffle_keeps_the_sums(matrix, seed) -> None:
    count_E, count_X = matrix.sum(1), matrix.sum(0)
    drawn = list(module._shuffled(count_E, count_X, np.random.default_rng(seed)))
    assert [part.sum() for part in drawn] == count_E.tolist()
    assert sum(part.sum() for part in drawn) == count_X.sum()


def test_a_shuffle_is_a_random_permutation() -> None:
    """The mean information of many draws, against permutations of the assignments."""
    matrix = np.array([[4, 0, 1, 0], [0, 5, 0, 2], [3, 1, 0, 0], [0, 0, 6, 1], [0, 1, 0, 0]])
    row_A = np.repeat(np.arange(5), matrix.sum(1))
    column_A = np.repeat(np.arange(4), matrix.sum(0))
    rng = np.random.default_rng(0)
    permuted = []
    for _ in range(4000):
        table = np.zeros_like(matrix)
        np.add.at(table, (row_A, rng.permutation(column_A)), 1)
        permuted.append(naive(table))
    both = sum(module._entropy(matrix.sum(axis)) for axis in (0, 1))
    drawn = []
    for _ in range(4000):
        parts = module._shuffled(matrix.sum(1), matrix.sum(0), rng)
        drawn.append(both - module._entropy(np.concatenate(list(parts))))
    assert np.mean(drawn) == pytest.approx(np.mean(permuted), abs=0.01)
    assert np.std(drawn) == pytest.approx(np.std(permuted), abs=0.01)


@settings(max_examples=20)
@given(st.integers(0, 99))
def test_more_than_numpy_can_draw_exactly(seed) -> None:
    rng = np.random.default_rng(seed)
    count_E = rng.integers(1, 4, 6) * 10**9
    count_X = rng.multinomial(count_E.sum(), rng.dirichlet(np.ones(5)))
    drawn = list(module._shuffled(count_E, count_X, rng))
    assert sum(part.sum() for part in drawn) == count_X.sum()
    assert [part.sum() for part in drawn] == pytest.approx(count_E.tolist(), rel=1e-3)


def test_of_nothing() -> None:
    empty = PairCounts().cells()
    assert set(information(empty, 3).values()) == {0.0}
