"""Whether ``tried.md`` has the figures of the logs that it names.

In its tables a cell such as ``37.80, 30.12 (`d64-32`)`` is of ``tried/d64-32.log`` beside it. A
percentage is the difference to the first figure of the row's first cell. Cells of several logs
(with ±) are not looked at. Columns of updates and minutes are of the first log of the row.

In its prose, fractions and numbers of updates and passes are those of the page's tables, of the
settings in the logs and in ``run.json``, or of logs and result folders that the sentence names.
Other whole numbers, such as those of the text, are not looked at.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from nmt_moe.runs.claims.search.training import BEGINS, MARK

_CELL = re.compile(r"([^|]*)\(`([\w-]+)`\) *(?=\||$)")
_FIGURE = re.compile(
    r'"(?:test_ppl|valid_ppl|valid_bleu|score|mean)": "?([\d.]+)|^sacrebleu[^:]*: ([\d.]+)'
    r"|Perplexity: ([\d.]+)",
    re.MULTILINE,
)
_NUMBER = re.compile(r"(?<![-+.\d])\d+\.\d+(?![\d%])")
_CHANGE = re.compile(r"([-+]\d+\.\d)%")
_ANY = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?!\w|\.\d)")
_SENTENCE = re.compile(r"(?<=[.?:;])\s+(?=[A-Z`(])")
_NAMED = re.compile(r"`([\w./-]+)`")
_LOGGED = re.compile(r'"(?:\w+_)?(?:loss|ppl|bleu|num_updates|score|mean|epoch)": "?([\d.]+)')
_UPDATES = re.compile(r'"(?:\w+_)?num_updates": "(\d+)"')
_STEPS = re.compile(r"^.*\| train_inner \|.*\n", re.MULTILINE)  # their losses are of a few batches


def wrong(page: Path) -> Iterator[str]:
    """What a page says otherwise than the logs."""
    lines = page.read_text("utf-8").splitlines()
    yield from _tables(page, lines)
    yield from _prose(page, lines)


def _tables(page: Path, lines: list[str]) -> Iterator[str]:
    heads: list[str] = []
    for line in lines:
        if not line.startswith("|"):
            heads = []
            continue
        heads = heads or [head.strip() for head in line.split("|")]
        first, named = None, None
        for cell, name in _CELL.findall(line):
            if "±" in cell:
                continue
            log = page.parent / "tried" / f"{name}.log"
            if not log.is_file():
                yield f"{page}: there is no log of '{name}'"
                continue
            named = named or log
            logged = [float("".join(found)) for found in _FIGURE.findall(_text(log))]
            numbers = _NUMBER.findall(cell)
            for number in numbers:
                if not _among(number, logged):
                    yield f"{page}: the log of '{name}' has no {number}"
            first = first or (numbers[0] if numbers else None)
            for change in _CHANGE.findall(cell):
                if (
                    first is None
                    or f"{100 * (float(numbers[0]) / float(first) - 1):+.1f}" != change
                ):
                    yield f"{page}: {numbers[0]} of '{name}' is not {change}% from {first}"
        for head, cell in zip(heads, line.split("|"), strict=False):
            if named and head in ("updates", "minutes"):
                logged = _minutes(named) if head == "minutes" else _updates(named)
                ended = logged or head == "updates"  # of a try that was killed no time is known
                for number in _ANY.findall(cell)[:1]:  # of so many, or so long
                    if ended and not _among(number, logged):
                        yield f"{page}: the log of '{named.stem}' has no {number} {head}"


def _prose(page: Path, lines: list[str]) -> Iterator[str]:
    known = _numbers("\n".join(line for line in lines if line.startswith("|")))
    for log in (page.parent / "tried").glob("*.log"):
        about = _text(log).partition("\n")[0]
        known += _numbers(about) if "fairseq-train" in about else []
    if (page.parent / "run.json").is_file():
        known += _numbers(_text(page.parent / "run.json"))
    for block in "\n".join(lines).split("\n\n"):
        if block.startswith(("|", "#")):
            continue
        for sentence in _SENTENCE.split(" ".join(block.split())):
            logged = [*known]
            for name in _NAMED.findall(sentence):
                for path in (f"tried/{name}.log", f"{name}.log"):
                    if (page.parent / path).is_file():
                        logged += _logged(page.parent / path)
                if (page.parent / name / "table.md").is_file():
                    logged += _numbers(_text(page.parent / name / "table.md"))
            plain = _NAMED.sub("``", sentence)
            for found in _ANY.finditer(plain):
                counts = plain[found.end() :].startswith((" updates", " passes"))
                if (counts or "." in found[0] or "e" in found[0]) and not _among(found[0], logged):
                    yield f"{page}: no log that is named there has the {found[0]} of '{sentence}'"


@cache
def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace")


def _numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in _ANY.findall(text)]


def _logged(log: Path) -> list[float]:
    """The figures of its passes, validations and tests."""
    text = _STEPS.sub("", _text(log))
    values = [float(value) for value in _LOGGED.findall(text)]
    return values + [float("".join(found)) for found in _FIGURE.findall(text)]


def _updates(log: Path) -> list[float]:
    return [float(number) for number in _UPDATES.findall(_text(log))]


def _among(number: str, logged: list[float]) -> bool:
    """Whether a figure is one of these, a fraction rounded to its digits."""
    plain = number.replace(",", "")
    if "." not in plain or "e" in plain:
        return float(plain) in logged
    digits = len(plain.partition(".")[2])
    return any(f"{one:.{digits}f}" == plain for one in logged)


def _minutes(log: Path) -> list[float]:
    """Of a training's tries together, where the log has their times."""
    seconds, began = 0.0, None
    for mark in MARK.finditer(_text(log)):
        time = json.loads(mark[2])["time"]
        if mark[1] == BEGINS:
            began = time
        elif began is not None:
            seconds, began = seconds + time - began, None
    return [round(seconds / 60)] if seconds else []
