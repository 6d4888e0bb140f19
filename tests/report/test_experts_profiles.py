import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from nmt_moe.report.experts import profiles
from nmt_moe.report.experts.counting import Cells
from nmt_moe.report.experts.text import Spelling
from tests.report.experts import dictionary

WORDS = dictionary()
SPELLING = Spelling(WORDS)
SYMBOLS = len(WORDS)


@st.composite
def matrices(draw) -> np.ndarray:
    """Counts of experts and tokens; some experts have none, some tokens are nowhere."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    matrix = rng.integers(0, 20, (rng.integers(1, 9), SYMBOLS))
    matrix *= rng.random(matrix.shape) < 0.5
    matrix[rng.random(len(matrix)) < 0.2] = 0
    matrix[:, rng.random(SYMBOLS) < 0.2] = 0
    return matrix


def cells_of(matrix: np.ndarray) -> Cells:
    row_C, column_C = np.nonzero(matrix)
    return Cells(row_C, column_C, matrix[row_C, column_C])


@given(matrices())
def test_typical_tokens_add_most_to_the_information(matrix) -> None:
    found = profiles.typical(cells_of(matrix), len(matrix), SPELLING)
    assert len(found) == len(matrix)
    for counts, listed in zip(matrix, found, strict=True):
        expected = []
        for token, count in enumerate(counts):
            if count < 2:
                continue
            share, base = count / counts.sum(), matrix[:, token].sum() / matrix.sum()
            adds = share * math.log2(share / base)
            if adds > 1e-12:
                expected.append((-adds, token, count, share, base))
        best = sorted(expected)[:10]
        assert [(entry["token"], entry["count"]) for entry in listed] == [
            (WORDS[token], count) for _, token, count, _, _ in best
        ]
        assert [(entry["share"], entry["base"]) for entry in listed] == [
            (approx(share), approx(base)) for _, _, _, share, base in best
        ]


@given(matrices())
def test_labels_by_share(matrix) -> None:
    names = [f"label {number}" for number in range(SYMBOLS)]
    found = profiles.labels(cells_of(matrix), len(matrix), names)
    for counts, listed in zip(matrix, found, strict=True):
        order = sorted(counts.nonzero()[0], key=lambda label: (-counts[label], label))[:10]
        assert listed == [
            {
                "label": names[label],
                "share": approx(counts[label] / counts.sum()),
                "base": approx(matrix[:, label].sum() / matrix.sum()),
            }
            for label in order
        ]


@given(matrices(), st.sampled_from([1, 3, 256]))
def test_the_nearest_have_the_highest_cosine(matrix, block) -> None:
    before, profiles._BLOCK = profiles._BLOCK, block
    try:
        found = profiles.nearest(cells_of(matrix), len(matrix))
    finally:
        profiles._BLOCK = before
    for expert, listed in enumerate(found):
        cosines = {}
        for other in range(len(matrix)):
            norms = np.linalg.norm(matrix[expert]) * np.linalg.norm(matrix[other])
            if other != expert and matrix[expert] @ matrix[other]:
                cosines[other] = matrix[expert] @ matrix[other] / norms
        best = sorted(cosines.values(), reverse=True)[:5]
        assert [entry["similarity"] for entry in listed] == approx(best, abs=1e-6)
        assert len({entry["expert"] for entry in listed}) == len(listed)
        for entry in listed:
            assert entry["similarity"] == approx(cosines[entry["expert"]], abs=1e-6)
