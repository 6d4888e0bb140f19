"""Read the lines that ``fairseq-train --log-format json`` prints."""

import json
import re
from collections.abc import Iterable
from typing import Any

_LAYER = re.compile(r"(?:valid_)?moe_(.+)_importance_cv")


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
        if figures is not None and "valid_loss" in figures:
            last = figures
    return last


def intervals(lines: Iterable[str]) -> dict[int, dict[str, Any]]:
    """The figures of each ``--log-interval`` by the number of its last update.

    Of an update that an interrupted training has made twice, those of the second time.
    """
    found = {}
    for line in lines:
        figures = record(line)
        if figures is not None and "loss" in figures and "num_updates" in figures:
            found[int(figures["num_updates"])] = figures
    return dict(sorted(found.items()))


def moe_layers(figures: dict[str, Any]) -> list[str]:
    """The mixture-of-experts layers that a record is about, such as ``encoder_2``."""
    return [match[1] for match in map(_LAYER.fullmatch, figures) if match]
