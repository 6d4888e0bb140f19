"""Drawing without repeats: even shares between templates and a random order of big ranges.

A sentence has a number: that of its first field's value, plus that of its second times the values
that the first has, and so on. Fields of the same slot have different values.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence


def shares(total: int, caps: Sequence[int]) -> list[int]:
    """Split ``total`` as evenly as the ``caps`` allow; ``total`` is at most their sum."""
    given = [0] * len(caps)
    left = total
    by_cap = sorted(range(len(caps)), key=lambda item: (caps[item], item))
    for done, item in enumerate(by_cap):
        given[item] = min(caps[item], left // (len(caps) - done))
        left -= given[item]
    return given


def part(quotas: Sequence[int], wanted: int) -> list[int]:
    """Take ``wanted`` out of the quotas, the same fraction of each, to within one."""
    total = sum(quotas)
    taken = []
    before = 0
    for quota in quotas:
        after = before + quota
        taken.append(after * wanted // total - before * wanted // total)
        before = after
    return taken


def shuffled(size: int, rng: random.Random) -> Iterator[int]:
    """Yield the numbers below ``size``, each once, in random order.

    A Fisher-Yates shuffle that stores only the places it touched, for ranges of millions.
    """
    moved: dict[int, int] = {}
    for last in range(size - 1, -1, -1):
        place = rng.randrange(last + 1)
        number = moved.get(place, place)
        moved[place] = moved.pop(last, last)
        yield number


def choices(slots: Sequence[str], sizes: Mapping[str, int]) -> list[int]:
    """Return the number of values open to each field; a repeated slot has one less each time.

    Args:
        slots: the slot of each field.
        sizes: the number of values of each slot.
    """
    return [sizes[slot] - slots[:place].count(slot) for place, slot in enumerate(slots)]


def picked(slots: Sequence[str], sizes: Mapping[str, int], index: int) -> list[int]:
    """Return the number of each field's value for sentence number ``index``."""
    taken: dict[str, list[int]] = {}
    values = []
    for slot, count in zip(slots, choices(slots, sizes), strict=True):
        index, value = divmod(index, count)
        used = taken.setdefault(slot, [])
        for earlier in sorted(used):
            value += value >= earlier
        used.append(value)
        values.append(value)
    return values
