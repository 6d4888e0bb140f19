"""Follow ``fairseq-train --log-format json``: one short line for each report in its output.

Use it as a filter: ``fairseq-train ... 2>&1 | nmt-moe runs progress``.
Errors and warnings pass through; the rest is for the log.
"""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from nmt_moe.common import logged
from nmt_moe.common.door import door
from nmt_moe.runs.training_log import record

_PASS = re.compile(
    r"\| (WARNING|ERROR) \||[Ee]rror: |Loaded checkpoint|num\. shared model params|^Killed"
)


def describe(figures: dict[str, Any]) -> str:
    """One line for a person: where the training is, and how well it does."""
    if logged.of_split("valid", logged.LOSS) in figures:
        perplexity = _perplexity(figures, "valid_")
        return f"epoch {figures['epoch']}: validation perplexity {perplexity}"
    prefix = "train_" if logged.of_split("train", logged.LOSS) in figures else ""
    parts = [f"update {_number(figures, prefix + logged.UPDATES)}"]
    parts.append(f"perplexity {_perplexity(figures, prefix)}")
    parts.append(f"{_number(figures, prefix + logged.PIECES_PER_SECOND)} pieces/s")
    done = f"epoch {figures['epoch']} done" if prefix else f"epoch {figures['epoch']}"
    return f"{done}: {', '.join(parts)}"


def _number(figures: dict[str, Any], name: str) -> str:
    try:
        return f"{float(figures[name]):,.0f}"
    except (KeyError, TypeError, ValueError):
        return "?"


def _perplexity(figures: dict[str, Any], prefix: str) -> str:
    for name, base in (
        (logged.PERPLEXITY, None),
        (logged.CROSS_ENTROPY, 2.0),
        (logged.LOSS, 2.0),
    ):
        try:
            value = float(figures[prefix + name])
        except (KeyError, TypeError, ValueError):
            continue
        value = value if base is None else base**value
        return f"{value:,.2f}" if math.isfinite(value) else str(value)
    return "?"


def follow(lines: Iterable[str]) -> Iterator[str]:
    """The lines to show; a traceback is shown whole."""
    for line in told(lines):
        figures = record(line)
        yield line if figures is None else describe(figures)


def told(lines: Iterable[str]) -> Iterator[str]:
    """The reports, errors and warnings of a training's lines; a traceback is whole."""
    traceback = False
    for line in _without_ignored(lines):
        traceback = traceback or line.startswith("Traceback")
        if traceback or _PASS.search(line) or record(line) is not None:
            yield line.rstrip("\n")


def _without_ignored(lines: Iterable[str]) -> Iterator[str]:
    """Leaves out exceptions that Python prints and ignores, as a worker that ends may do."""
    ignored = False
    for line in lines:
        if line.startswith("Exception ignored in"):
            ignored = True
        elif ignored:
            ignored = line.startswith(("Traceback", " "))  # the line of the exception is the last
        else:
            yield line


main = door(__name__, "runs", "progress")
