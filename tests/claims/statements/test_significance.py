"""The tests behind a verdict, against scipy's and against what the definitions say."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betainc
from scipy.stats import sem, t, ttest_ind

from nmt_moe.runs.claims.statements.significance import (
    apart,
    bootstraps,
    holm,
    incomplete_beta,
    interval,
    of_seeds,
    welch,
)

NUMBERS = st.lists(st.integers(-1000, 1000).map(lambda n: n / 8), min_size=2, max_size=7)


@given(NUMBERS, NUMBERS)
def test_welch_is_that_of_scipy(one: list[float], other: list[float]) -> None:
    if len(set(one)) > 1 or len(set(other)) > 1:
        expected = ttest_ind(one, other, equal_var=False).pvalue
        assert welch(one, other) == pytest.approx(expected, rel=1e-9, abs=1e-14)


@given(NUMBERS, st.sampled_from([0.5, 0.95, 0.999]))
def test_the_interval_is_that_of_scipy(numbers: list[float], confidence: float) -> None:
    expected = t.ppf((1 + confidence) / 2, len(numbers) - 1) * sem(numbers)
    assert interval(numbers, confidence) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("a", [0.5, 1.0, 3.7, 40.0])
@pytest.mark.parametrize("x", [0.0, 1e-6, 0.2, 0.5, 0.99, 1.0])
def test_the_beta_function(a: float, x: float) -> None:
    assert incomplete_beta(a, 0.5, x) == pytest.approx(float(betainc(a, 0.5, x)), rel=1e-11)


def test_seeds_without_a_variance_are_permuted() -> None:
    """Of the 20 ways to divide six numbers into threes, two are as far apart."""
    assert welch([1.0] * 3, [2.0] * 3) == 2 / 20
    assert welch([1.0] * 3, [1.0] * 3) == 1


def test_holm() -> None:
    # Each step by hand: 4 x 0.01, 3 x 0.02, then never below the one before, at most 1.
    assert holm([0.02, 0.01, 0.03, 0.9]) == pytest.approx([0.06, 0.04, 0.06, 0.9])
    assert holm([0.5, 0.6]) == [1.0, 1.0] and holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_is_between_nothing_and_bonferroni(values: list[float]) -> None:
    for p, corrected in zip(values, holm(values), strict=True):
        assert p <= corrected <= 1 and corrected <= len(values) * max(values)
    assert min(holm(values)) == min(1, len(values) * min(values))


def test_apart() -> None:
    assert apart([1, 2], [3, 4]) and apart([3, 4], [1, 2])
    assert not apart([1, 3], [2, 4]) and not apart([1, 2], [2, 3])


def test_p_values_of_the_bootstrap(tmp_path: Path) -> None:
    """Also where the other cell is sacrebleu's baseline; the text has the form of its tables."""
    for seed, p in ((1, "0.0010"), (2, "0.0400")):
        (tmp_path / f"paired-gnmt-{seed}.txt").write_text(
            f"│ Baseline: dense-{seed}/gnmt/hypotheses.txt │ 3.1 │\n├───┼───┤\n"
            f"│ 32-{seed}/gnmt/hypotheses.txt │ 3.5 │\n│ │ (p = {p})* │\n"
            f"│ 256-{seed}/gnmt/hypotheses.txt │ 3.4 │\n│ │ (p = 0.5000) │\n"
        )
    assert bootstraps(tmp_path, "gnmt", "dense", "32") == [0.001, 0.04]
    assert bootstraps(tmp_path, "gnmt", "32", "dense") == [0.001, 0.04]
    assert bootstraps(tmp_path, "gnmt", "dense", "256") == [0.5, 0.5]
    assert (
        bootstraps(tmp_path, "gnmt", "32", "256") == bootstraps(tmp_path, "gnmt1", "a", "b") == []
    )
    assert of_seeds([0.5, 0.01, 0.02]) == 0.04 and of_seeds([0.9]) == 1
