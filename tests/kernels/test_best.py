"""The best words of a row, against a softmax of all words in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt_moe.kernels.cpu import best as kernel
from nmt_moe.kernels.cpu.best import best
from tests.compiled import skip_unless_compiled

skip_unless_compiled()

NONE = torch.empty(0, dtype=torch.int64), torch.empty(0)


@pytest.mark.parametrize("in_c", [True, False])
@settings(max_examples=60, derandomize=True)
@given(
    rows=st.integers(1, 5),
    words=st.sampled_from([1, 2, 7, 255, 256, 257, 600, 3001]),
    share=st.floats(0, 1),
    scale=st.sampled_from([0.1, 3.0, 40.0]),
    shift=st.sampled_from([0.0, -300.0, 1000.0]),
    seed=st.integers(0, 1000),
)
def test_it_is_the_softmax_in_float64(in_c, rows, words, share, scale, shift, seed) -> None:
    torch.manual_seed(seed)
    count = max(1, round(share * min(words, 300)))
    scores = torch.randn(rows, words) * scale + shift
    changed = torch.randperm(words)[: min(3, words - 1)]
    extra = torch.tensor([-0.7, -math.inf, 2.5])[: len(changed)]
    right = scores.double().log_softmax(1)
    right[:, changed] += extra.double()
    # What is no row after another is left to torch.
    given_ = scores.clone() if in_c else scores.t().contiguous().t()
    found, place = best(given_, count, changed, extra)
    assert found.dtype == torch.float32 and place.shape == (rows, count)
    tolerance = dict(rtol=1e-5, atol=1e-5 + 1e-6 * abs(shift))
    torch.testing.assert_close(found.double(), right.topk(count).values, **tolerance)
    torch.testing.assert_close(found.double(), right.gather(1, place), **tolerance)
    assert all(len(set(row)) == count for row in place.tolist())


def test_rows_that_are_not_finite_have_no_probabilities() -> None:
    for wrong in (math.nan, math.inf):
        scores = torch.randn(3, 700)
        right, _ = best(scores[[0, 2]].clone(), 4, *NONE)
        scores[1, 600] = wrong
        for given_ in (scores.clone(), scores.t().contiguous().t()):
            found, _ = best(given_, 4, *NONE)
            assert (found[1] == -math.inf).all()
            torch.testing.assert_close(found[[0, 2]], right)


def test_words_that_cannot_be() -> None:
    scores = torch.full((2, 300), -math.inf)
    scores[:, 290] = 3.0
    found, place = best(scores, 2, *NONE)
    assert found.tolist() == [[0, -math.inf]] * 2 and place[:, 0].tolist() == [290, 290]


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_FOR_THREADS", 0)
    threads, scores = torch.get_num_threads(), torch.randn(9, 1000)
    try:
        torch.set_num_threads(3)
        several = best(scores.clone(), 5, *NONE)
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, several, best(scores.clone(), 5, *NONE)))
