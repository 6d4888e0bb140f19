"""Read the lines that ``fairseq-train --log-format json`` prints."""

import json
from collections.abc import Iterable
from typing import Any


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
