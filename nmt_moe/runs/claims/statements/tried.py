"""Whether the tables of ``tried.md`` have the figures of the logs that their cells name.

A cell such as ``37.80, 30.12 (`d64-32`)`` is of ``tried/d64-32.log`` beside it. A percentage is the
difference to the first figure of the row's first cell. Cells of several logs (with ±) and prose are
not looked at.
"""

import re
from collections.abc import Iterator
from pathlib import Path

_CELL = re.compile(r"([^|]*)\(`([\w-]+)`\) *(?=\||$)")
_FIGURE = re.compile(
    r'"(?:test_ppl|valid_ppl|valid_bleu|score|mean)": "?([\d.]+)|^sacrebleu[^:]*: ([\d.]+)'
    r"|Perplexity: ([\d.]+)",
    re.MULTILINE,
)
_NUMBER = re.compile(r"(?<![-+.\d])\d+\.\d+(?![\d%])")
_CHANGE = re.compile(r"([-+]\d+\.\d)%")


def wrong(page: Path) -> Iterator[str]:
    """What a page says otherwise than the logs."""
    for line in page.read_text("utf-8").splitlines():
        first = None
        for cell, name in _CELL.findall(line) if line.startswith("|") else ():
            if "±" in cell:
                continue
            log = page.parent / "tried" / f"{name}.log"
            if not log.is_file():
                yield f"{page}: there is no log of '{name}'"
                continue
            logged = [float("".join(found)) for found in _FIGURE.findall(log.read_text("utf-8"))]
            numbers = _NUMBER.findall(cell)
            for number in numbers:
                digits = len(number.partition(".")[2])
                if all(f"{one:.{digits}f}" != number for one in logged):
                    yield f"{page}: the log of '{name}' has no {number}"
            first = first or (numbers[0] if numbers else None)
            for change in _CHANGE.findall(cell):
                if (
                    first is None
                    or f"{100 * (float(numbers[0]) / float(first) - 1):+.1f}" != change
                ):
                    yield f"{page}: {numbers[0]} of '{name}' is not {change}% from {first}"
