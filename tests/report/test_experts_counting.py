from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt_moe.report.experts import counting
from nmt_moe.report.experts.counting import PairCounts, place_in_group

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**31 - 1) | st.integers(0, 3)))


def counted(batches: list[list[tuple[int, int]]]) -> PairCounts:
    counts = PairCounts()
    for batch in batches:
        rows_columns = np.array(batch, np.int64).reshape(-1, 2)
        counts.add(rows_columns[:, 0], rows_columns[:, 1])
    return counts


@pytest.fixture(params=[1, 5, 1 << 20], ids="buffer {}".format)
def buffer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_BUFFER", request.param)


@pytest.mark.usefixtures("buffer")
def test_counts_are_exact_in_any_batches_and_any_order() -> None:
    @given(st.lists(PAIRS), st.randoms())
    def check(batches, chance) -> None:
        expected = sorted(Counter(pair for batch in batches for pair in batch).items())
        for _ in range(2):
            cells = counted(batches).cells()
            found = zip(cells.row_C.tolist(), cells.column_C.tolist(), strict=True)
            assert list(zip(found, cells.count_C.tolist(), strict=True)) == expected
            chance.shuffle(batches)

    check()


def test_counting_goes_on_after_a_look() -> None:
    counts = counted([[(0, 1), (2, 1)]])
    assert counts.cells().count_C.tolist() == [1, 1]
    counts.add(np.array([2]), np.array([1]))
    assert counts.cells().count_C.tolist() == [1, 2]


@given(PAIRS)
def test_sums_of_rows_and_columns(pairs) -> None:
    cells = counted([[(row, column % 7) for row, column in pairs]]).cells()
    dense = np.zeros((6, 7), np.int64)
    for row, column in pairs:
        dense[row, column % 7] += 1
    assert cells.rows(6).tolist() == dense.sum(1).tolist()
    used = max((column % 7 for _, column in pairs), default=-1) + 1
    assert cells.columns().tolist() == dense.sum(0)[:used].tolist()


@given(st.lists(st.integers(0, 4)).map(sorted))
def test_places_in_groups(groups) -> None:
    seen: Counter[int] = Counter()
    expected = []
    for group in groups:
        expected.append(seen[group])
        seen[group] += 1
    assert place_in_group(np.array(groups, np.int64)).tolist() == expected
