"""The bookkeeping of successive halving (Jamieson and Talwalkar 2016), of which a grid is the case
of one rung: who goes on, and what that costs at most."""

from collections.abc import Mapping, Sequence


def sizes(settings: int, rungs: int, eta: float) -> list[int]:
    """How many settings there are in each rung, if none fails."""
    found = [settings]
    for _ in range(1, rungs):
        found.append(places(found[-1], eta))
    return found


def places(settings: int, eta: float) -> int:
    """How many of a rung's settings go on to the next one: the best ``1 / eta``, at least one."""
    return max(1, int(settings / eta))


def kept(scores: Mapping[int, float | None], eta: float, higher: bool) -> list[int]:
    """The settings that go on, in their order.

    Args:
        scores: of all settings of a rung; None of one that failed, which never goes on.
        eta: see :func:`places`.
        higher: whether a higher score is better.

    Returns:
        None of the others has a better score; of equal ones the first go on.
    """
    return sorted(ranked(scores, higher)[: places(len(scores), eta)])


def ranked(scores: Mapping[int, float | None], higher: bool) -> list[int]:
    """The settings that have a score, the best one first; equal ones in their order."""
    found = {setting: score for setting, score in scores.items() if score is not None}
    sign = -1 if higher else 1
    return sorted(found, key=lambda setting: (sign * found[setting], setting))


def steps(budgets: Sequence[float], anew: bool) -> list[float]:
    """What a training spends in each rung: what there is more than before, or all of it."""
    before = [0.0, *budgets[:-1]]
    return [end - (0 if anew else start) for start, end in zip(before, budgets, strict=True)]


def cost(settings: int, steps: Sequence[float], eta: float, seeds: int) -> float:
    """Updates, or minutes, of rungs with these steps, if none fails.

    Args:
        settings: in the first of them.
        steps: see :func:`steps`.
        eta: see :func:`places`.
        seeds: of each setting.
    """
    numbers = sizes(settings, len(steps), eta)
    return seeds * sum(number * step for number, step in zip(numbers, steps, strict=True))
