"""Read the lines that ``fairseq-train`` prints, most of all with ``--log-format json``."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any

from nmt_moe.common import logged

Records = dict[int, dict[str, float | None]]
"""Figures by their name, by the number of the update."""

# What --log-format simple prints at an interval, and tqdm in its bar.
_INTERVAL = re.compile(r"\bepoch \d+:.*?\s(\w+=.*)")
_PAIR = re.compile(r"(\w+)=\s*([^\s,\]]+)")
# What both print at the end of an epoch, and after a validation; Hydra has a dash before it.
_END = re.compile(r"(?:^|[|-] )epoch \d+ \| (valid on 'valid' subset \| )?(\w+ [^|']+(?:\| .*)?)$")
_VALID_LOSS = logged.of_split("valid", logged.LOSS)
_PLACES = {"epoch", "update", logged.UPDATES}


def record(line: str) -> dict[str, Any] | None:
    """The figures in one line of the output, or None when it holds none.

    A line is either the JSON object alone or a date, a level and a logger before it.
    """
    start = line.find("{")
    if start < 0 or not line.rstrip().endswith("}"):
        return None
    try:
        figures = json.loads(line[start:])
    except json.JSONDecodeError:
        return None
    return figures if isinstance(figures, dict) and "epoch" in figures else None


def last_validation(lines: Iterable[str]) -> dict[str, Any] | None:
    """The figures of the last validation, or None when there was none."""
    last = None
    for line in lines:
        figures = record(line)
        if figures is not None and _VALID_LOSS in figures:
            last = figures
    return last


def intervals(lines: Iterable[str]) -> dict[int, dict[str, Any]]:
    """The figures of each ``--log-interval`` by the number of its last update.

    Of an update that an interrupted training has made twice, those of the second time.
    """
    found = {}
    for line in lines:
        figures = record(line)
        if figures is not None and logged.LOSS in figures and logged.UPDATES in figures:
            found[int(figures[logged.UPDATES])] = figures
    return dict(sorted(found.items()))


def records(lines: Iterable[str]) -> dict[str, Records]:
    """All numeric figures of a log in fairseq's format ``json``, ``simple`` or ``tqdm``.

    Returns:
        Those of each ``--log-interval`` as ``train_inner``, of each epoch as ``train`` and of
        each validation on the split ``valid`` as ``valid``; None for one that is not finite. Of
        an update that an interrupted training has made twice, those of the second time.
    """
    found: dict[str, Records] = {"train_inner": {}, "train": {}, "valid": {}}
    for line in lines:
        kind, texts = _figures(line.rstrip())
        numbers = {
            name: number for name, text in texts.items() if (number := _number(text)) is not None
        }
        if logged.UPDATES in numbers and logged.LOSS in numbers:
            found[kind][int(numbers[logged.UPDATES])] = {
                name: number if math.isfinite(number) else None
                for name, number in numbers.items()
                if name not in _PLACES
            }
    return {kind: dict(sorted(updates.items())) for kind, updates in found.items()}


def _figures(line: str) -> tuple[str, dict[str, Any]]:
    """What a line is about, and its figures by name without "train_" and "valid_"."""
    figures = record(line)
    if figures is not None:
        kind = next(
            (kind for kind in ("train", "valid") if logged.of_split(kind, logged.LOSS) in figures),
            "",
        )
        return kind or "train_inner", {
            name.removeprefix(f"{kind}_"): value for name, value in figures.items()
        }
    if (interval := _INTERVAL.search(line)) is not None:
        return "train_inner", dict(_PAIR.findall(interval[1]))
    if (end := _END.search(line)) is not None:
        pairs = (part.split() for part in end[2].split("|"))
        return "valid" if end[1] else "train", {p[0]: p[1] for p in pairs if len(p) == 2}
    return "train", {}


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
