"""Whether seeds differ by more than chance: Welch's t-test, Holm's correction, bootstraps."""

import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

_P = re.compile(r"([\w.-]+)-(\d+)/(\w+)/hypotheses\.txt.*?\n.*?\(p = ([\d.]+)\)")
_BASELINE = re.compile(r"Baseline: ([\w.-]+)-\d+/")


def welch(one: Sequence[float], other: Sequence[float]) -> float:
    """The two-sided p-value of equal means, variances being unequal (Welch 1947).

    Where neither has a variance, which a t-test needs, the exact permutation test's.
    """
    difference = statistics.fmean(one) - statistics.fmean(other)
    errors = [statistics.variance(numbers) / len(numbers) for numbers in (one, other)]
    if not any(errors):
        return min(1.0, 2 / math.comb(len(one) + len(other), len(one))) if difference else 1.0
    weights = zip(errors, (one, other), strict=True)
    freedom = sum(errors) ** 2 / sum(error**2 / (len(n) - 1) for error, n in weights)
    return student(difference / math.sqrt(sum(errors)), freedom)


def student(t: float, freedom: float) -> float:
    """The two-sided p-value of Student's t."""
    return incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def interval(numbers: Sequence[float], confidence: float = 0.95) -> float:
    """Half the width of the confidence interval of their mean, by Student's t."""
    low, high = 0.0, 1.0
    freedom = len(numbers) - 1
    while student(high, freedom) > 1 - confidence:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if student(middle, freedom) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high * statistics.stdev(numbers) / math.sqrt(len(numbers))


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularized incomplete beta function, by its continued fraction (Lentz's method)."""
    if x in (0, 1):
        return float(x)
    if x > (a + 1) / (a + b + 2):  # there the fraction converges slowly
        return 1 - incomplete_beta(b, a, 1 - x)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(logarithm + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 1000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            c, d = 1 + numerator / c, 1 / (1 + numerator * d)
            fraction *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * fraction


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, in their order (Holm 1979)."""
    corrected, most = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        most = max(most, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = most
    return corrected


def apart(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether each number of one list is above, or each is below, every number of the other."""
    return max(one) < min(other) or max(other) < min(one)


def bootstraps(folder: Path, search: str, base: str, cell: str) -> list[float]:
    """sacrebleu's p-values by paired bootstrap of two cells, one of which is its baseline, by seed.

    Args:
        folder: of the results.
        search: which translations, such as ``gnmt``.
        base, cell: the two.
    """
    found = []
    for path in sorted(folder.glob(f"paired-{search}-*.txt")):
        text = path.read_text("utf-8").replace("│", " ")
        baselines = set(_BASELINE.findall(text))
        values = {name: float(p) for name, _, _, p in _P.findall(text)}
        for first, second in ((base, cell), (cell, base)):
            if first in baselines and second in values:
                found.append(values[second])
    return found


def of_seeds(values: Sequence[float]) -> float:
    """One p-value of several, however they depend on each other: twice their median."""
    return min(1.0, 2 * statistics.median(values))
