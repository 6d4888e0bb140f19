"""What looks wrong with parallel text, and on which lines, before a model is trained on it.

One pass in windows of 500 pairs finds all of it, and memory does not grow.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from nmt_moe.corpus.alignment import Alignment
from nmt_moe.corpus.clean.duplicates import digest
from nmt_moe.corpus.identify import Identifier
from nmt_moe.corpus.sources.pair import Pair

Kind = Literal["swapped", "language", "misaligned", "duplicates", "empty", "copied"]

_WINDOW = 500  # pairs
_BLOCK = 100  # pairs whose language is judged together
_HEARD = 10  # of them
_IN_A_ROW = 3  # blocks, or so much of the text, are no accident
_OF_ALL = 0.02
_HELD = 2**16  # hashes, to find pairs that are there again
_REPEATED, _COPIED = 0.2, 0.02  # shares of the text that are worth a word
_SHOWN = 5  # lines


@dataclass(frozen=True)
class Suspicion:
    """Something that looks wrong."""

    kind: Kind
    lines: tuple[int, ...]
    """The first lines that are meant; of a block, its first and its last."""
    message: str
    """A sentence for the user."""


def look(pairs: Iterable[Pair], source: str, target: str) -> list[Suspicion]:
    """What looks wrong with the pairs of one source, the worst first.

    Args:
        pairs: all of them, in order.
        source: the language that the source should be in.
        target: that of the target.
    """
    languages, alignment = _Languages(source, target), Alignment()
    counts = _Counts()
    remaining, last = iter(pairs), 0
    while window := list(islice(remaining, _WINDOW)):
        languages.add(window)
        alignment.add(window)
        counts.add(window)
        last = window[-1].line
    return [
        *languages.suspicions(last),
        *_misaligned(alignment, last),
        *counts.suspicions(),
    ]


def _where(first: int, last: int, end: int) -> str:
    if last >= end:
        return f"from line {first:,} on" if first > 1 else "all lines"
    return f"lines {first:,} to {last:,}"


def _misaligned(alignment: Alignment, end: int) -> list[Suspicion]:
    found = []
    for first, last, shift in alignment.breaks[:1]:
        if shift is None:
            what = "the sides do not look like translations of each other"
        else:
            lines = f"{abs(shift)} line{'s' * (abs(shift) > 1)}"
            side = "source" if shift > 0 else "target"
            what = (
                f"translations stand {lines} {'after' if shift > 0 else 'before'} their sentences: "
                f"a line of the {side} is missing there, or one of the other side too many"
            )
        place = _where(first, alignment.breaks[-1].last, end)
        found.append(Suspicion("misaligned", (first, last), f"{place}: {what}"))
    return found


@dataclass
class _Trouble:
    """Blocks of lines with the same trouble: how many, and the longest row of them."""

    blocks: int = 0
    longest: tuple[int, int, int] = (0, 0, 0)
    """How many blocks, and their first and last line."""
    row: tuple[int, int, int] = (0, 0, 0)
    last_block: int = 0

    def add(self, number: int, first: int, last: int) -> None:
        if self.row[0] and self.last_block == number - 1:
            self.row = (self.row[0] + 1, self.row[1], last)
        else:
            self.row = (1, first, last)
        self.blocks, self.last_block = self.blocks + 1, number
        self.longest = max(self.longest, self.row, key=lambda row: row[0])


class _Languages:
    """Blocks of lines that are not in their language."""

    def __init__(self, source: str, target: str) -> None:
        self._names = (source, target)
        self._identifier = Identifier(source, target)
        self._blocks = 0
        self._troubles: dict[tuple[Kind, str], _Trouble] = {}

    def add(self, window: Sequence[Pair]) -> None:
        for begin in range(0, len(window), _BLOCK):
            block = window[begin : begin + _BLOCK]
            self._blocks += 1
            kind = self._kind(block)
            if kind is not None:
                found = self._troubles.setdefault(kind, _Trouble())
                found.add(self._blocks, block[0].line, block[-1].line)

    def _kind(self, block: Sequence[Pair]) -> tuple[Kind, str] | None:
        heard = block[:_HEARD]
        texts = ["\n".join(pair.source for pair in heard)]
        texts.append("\n".join(pair.target for pair in heard))
        judged = [self._identifier.judge(text, side) for side, text in enumerate(texts)]
        places = [place and place[0] for place in judged]
        unknown = places == [None, None] and self._identifier.swapped(texts[0], texts[1])
        if places == ["other", "other"] or unknown:
            left, right = self._names
            return "swapped", f"source and target look swapped, {right} stands where {left} should"
        for place, side, name in zip(judged, ("source", "target"), self._names, strict=True):
            if place is not None and place[0] != "own":
                return "language", f"the {side} does not look like {name} but {place[1]}"
        return None

    def suspicions(self, end: int) -> list[Suspicion]:
        enough = min(_IN_A_ROW, self._blocks)
        found = []
        for (kind, what), trouble in self._troubles.items():
            row, first, last = trouble.longest
            if row >= enough or trouble.blocks > max(_IN_A_ROW, _OF_ALL * self._blocks):
                place = _where(first, last, end)
                found.append(Suspicion(kind, (first, last), f"{place}: {what}"))
        return found


class _Counts:
    """Empty, copied and repeated pairs."""

    def __init__(self) -> None:
        self._pairs = 0
        self._counts = {"empty": 0, "copied": 0}
        self._lines: dict[str, list[int]] = {"empty": [], "copied": []}
        # Of the pairs whose hash can be divided by _every: how many, the first line, and another.
        self._every = 1
        self._same: dict[int, tuple[int, int, int]] = {}

    def add(self, window: Sequence[Pair]) -> None:
        self._pairs += len(window)
        for pair in window:
            if not (pair.source and pair.target):
                self._note("empty", pair)
            elif pair.source == pair.target and any(map(str.isalpha, pair.source)):
                self._note("copied", pair)
            value = int.from_bytes(digest(f"{pair.source}\n{pair.target}"))
            if value % self._every == 0:
                count, first, again = self._same.get(value, (0, pair.line, 0))
                self._same[value] = (count + 1, first, again or (pair.line if count else 0))
        while len(self._same) > _HELD:
            self._every *= 2
            self._same = {v: kept for v, kept in self._same.items() if v % self._every == 0}

    def _note(self, kind: str, pair: Pair) -> None:
        self._counts[kind] += 1
        if len(self._lines[kind]) < _SHOWN:
            self._lines[kind].append(pair.line)

    def suspicions(self) -> list[Suspicion]:
        found = []
        empty, copied = self._counts["empty"], self._counts["copied"]
        if empty:
            what = f"{_pairs(empty)} with an empty side ({self._shown('empty')}), left out"
            found.append(Suspicion("empty", (*self._lines["empty"],), what))
        if copied > max(1, _COPIED * self._pairs):
            what = f"{_pairs(copied)} with the same text on both sides ({self._shown('copied')})"
            found.append(Suspicion("copied", (*self._lines["copied"],), what))
        held = [*self._same.values()]
        total = sum(count for count, _, _ in held)
        share = 1 - len(held) / total if total else 0
        if share > _REPEATED:
            first, again = min((line, other) for count, line, other in held if count > 1)
            what = f"{share:.0%} of the pairs came before, such as line {again:,} in line {first:,}"
            found.append(Suspicion("duplicates", (first, again), what))
        return found

    def _shown(self, kind: str) -> str:
        lines, more = self._lines[kind], self._counts[kind] > _SHOWN
        shown = ", ".join(f"{line:,}" for line in lines)
        return f"line{'s' * (len(lines) > 1)} {shown}{' ...' * more}"


def _pairs(number: int) -> str:
    return f"{number:,} pair{'s' * (number > 1)}"
