"""Where the marks of a sentence belong in its translation.

A model says with its attention which source words each word of the translation was made from. A
span, or an atom that the translation does not have letter by letter, is put around the row of words
that have most of their attention within it; a point between the words that divide it best. White
space that divides a text divides the translation in the same proportions.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from nmt_moe.common.scripts import LETTER
from nmt_moe.trained.alignment import Aligned, shares, words
from nmt_moe.translate.documents.units import Mark, Sentence, divides

_MAJORITY = 0.5  # of the attention of a word


@dataclass
class Place:
    """Where a mark begins and ends in the translation, with what it holds."""

    mark: Mark
    start: int
    end: int
    inner: list["Place"] = field(default_factory=list)


@dataclass
class Placed:
    """The places of all marks of a sentence."""

    text: str
    places: list[Place]
    breaks: dict[int, tuple[int, Mark]]
    """By their places, with the end of the space that each replaces."""


def place(
    sentence: Sentence, aligned: Aligned, marks_block: re.Pattern[str] | None
) -> Placed | None:
    """Find the places of a sentence's marks in its translation; None: they are not to be found.

    Args:
        sentence: with its marks.
        aligned: its translation.
        marks_block: what no line may begin with.
    """
    nested, breaks = _nested(sentence.marks)
    places: list[Place] = []
    if nested:
        if not aligned.text.strip():
            return None
        placing = _Placing(sentence.text, aligned)
        found = placing.level(nested, (0, len(placing.source)), (0, len(placing.target)),
                              (0, len(aligned.text)))  # fmt: skip
        if found is None:
            return None
        places = found
    divided = _breaks(sentence.text, aligned.text, breaks, places, marks_block)
    return None if divided is None else Placed(aligned.text, places, divided)


@dataclass
class _Node:
    mark: Mark
    inner: list["_Node"] = field(default_factory=list)


def _nested(marks: Sequence[Mark]) -> tuple[list[_Node], list[Mark]]:
    """The marks in the spans that hold them, and the breaks."""
    top: list[_Node] = []
    held: list[_Node] = []
    for mark in marks:
        if mark.is_break:
            continue
        while held and not _holds(held[-1].mark, mark):
            held.pop()
        node = _Node(mark)
        (held[-1].inner if held else top).append(node)
        if mark.close is not None:
            held.append(node)
    return top, [mark for mark in marks if mark.is_break]


def _holds(span: Mark, mark: Mark) -> bool:
    return mark.order < span.close_order and mark.end <= span.end


class _Placing:
    def __init__(self, source: str, aligned: Aligned) -> None:
        self._source, self._target = source, aligned.text
        self.source, self.target = words(source), words(aligned.text)
        self._share_TS = shares(aligned, self.target, self.source)

    def level(
        self,
        nodes: list[_Node],
        source: tuple[int, int],
        target: tuple[int, int],
        chars: tuple[int, int],
    ) -> list[Place] | None:
        """The places of marks within a span.

        Args:
            nodes: the marks.
            source: the words of the span in the source.
            target: its words in the translation.
            chars: its characters in the translation.
        """
        free = np.zeros(len(self.target), dtype=bool)
        free[slice(*target)] = True
        wide = [node for node in nodes if node.mark.end > node.mark.start]
        runs: dict[int, tuple[int, int]] = {}
        for node in sorted(wide, key=self._clearness, reverse=True):
            run = self._run(node.mark, free, source, target, alone=len(wide) == 1)
            if run is None or not free[slice(*run)].all():
                return None
            free[slice(*run)] = False
            runs[id(node)] = run
        found: list[Place] = []
        for node in nodes:
            if id(node) not in runs:
                if (at := self._point(node.mark, source, target, chars, [*runs.values()])) is None:
                    return None
                found.append(Place(node.mark, at, at))
                continue
            run = runs[id(node)]
            start, end = self._edges(node.mark, run, target, chars)
            inner = self.level(node.inner, self._words(node.mark), run, (start, end))
            if inner is None:
                return None
            found.append(Place(node.mark, start, end, inner))
        found.sort(key=lambda one: (one.start, one.mark.order))
        for one, following in pairwise(found):
            if following.start < one.end:
                if following.end < one.end:
                    return None
                following.start = one.end
        return found

    def _words(self, mark: Mark) -> tuple[int, int]:
        """The source words that a mark touches."""
        inside = [i for i, (a, b) in enumerate(self.source) if a < mark.end and b > mark.start]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)

    def _share(self, mark: Mark) -> np.ndarray:
        """The share of the attention of each translated word that is on the words of a mark."""
        return self._share_TS[:, slice(*self._words(mark))].sum(axis=1)

    def _clearness(self, node: _Node) -> float:
        share_T = self._share(node.mark)
        return float(share_T[share_T > _MAJORITY].sum())

    def _run(
        self,
        mark: Mark,
        free: np.ndarray,
        source: tuple[int, int],
        target: tuple[int, int],
        alone: bool,
    ) -> tuple[int, int] | None:
        """The translated words that a mark is put around."""
        words, share_T = self._words(mark), self._share(mark)
        if mark.close is None:
            run = self._copy(mark, free, share_T) or _best_run(share_T - _MAJORITY, free)
            if run is None or run[1] - run[0] > 2 * (words[1] - words[0]) + 2:
                return None
            first, last = self.source[words[0]][0], self.source[words[1] - 1][1]
            begins = mark.start == first or self._same(words[0], run[0], mark.start)
            ends = mark.end == last or self._same(words[1] - 1, run[1] - 1, mark.end)
            return run if begins and ends else None  # or part of a word would be lost
        if alone and words == source:
            return target
        run = _best_run(share_T - _MAJORITY, free)
        if run is None:
            return None
        return (run[0] if mark.open_here else target[0], run[1] if mark.close_here else target[1])

    def _copy(self, mark: Mark, free: np.ndarray, share_T: np.ndarray) -> tuple[int, int] | None:
        """The words that are the same in the translation; of several those with most attention."""
        wanted = [self._source[slice(*self.source[i])] for i in range(*self._words(mark))]
        had = [self._target[start:end] for start, end in self.target]
        size = len(wanted)
        runs = [
            (i, i + size)
            for i in range(len(had) - size + 1)
            if had[i : i + size] == wanted and free[i : i + size].all()
        ]
        return max(runs, key=lambda run: share_T[slice(*run)].sum(), default=None)

    def _edges(
        self, mark: Mark, run: tuple[int, int], target: tuple[int, int], chars: tuple[int, int]
    ) -> tuple[int, int]:
        """The characters of a run of words, with the space at an end where the source has it."""
        first, last = self._words(mark)
        start, end = self.target[run[0]][0], self.target[run[1] - 1][1]
        start += self._within(first, run[0], mark.start)
        end -= (
            self.source[last - 1][1] - mark.end if self._same(last - 1, run[1] - 1, mark.end) else 0
        )
        if self._source[mark.start].isspace():
            start = self.target[run[0] - 1][1] if run[0] > target[0] else chars[0]
        if self._source[mark.end - 1].isspace():
            end = self.target[run[1]][0] if run[1] < target[1] else chars[1]
        if not mark.open_here:
            start = chars[0]
        if not mark.close_here:
            end = chars[1]
        return start, end

    def _same(self, source: int, target: int, place: int) -> bool:
        """Whether a place is within a word that is the same in the translation."""
        start, end = self.source[source]
        return start < place < end and (
            self._source[start:end] == self._target[slice(*self.target[target])]
        )

    def _within(self, source: int, target: int, place: int) -> int:
        return place - self.source[source][0] if self._same(source, target, place) else 0

    def _point(
        self,
        mark: Mark,
        source: tuple[int, int],
        target: tuple[int, int],
        chars: tuple[int, int],
        runs: list[tuple[int, int]],
    ) -> int | None:
        """The place of a mark between words: where it divides their attention as the source."""
        before = sum(end <= mark.start for _, end in self.source)
        if before < len(self.source) and self.source[before][0] < mark.start:  # within a word
            share_T = self._share_TS[:, before]
            word = int(share_T.argmax())
            if not self._same(before, word, mark.start):
                return None
            return self.target[word][0] + mark.start - self.source[before][0]
        left_T = self._share_TS[slice(*target), :before].sum(axis=1)
        gains = np.concatenate([[0], np.cumsum(2 * left_T - 1)])
        if before <= source[0]:
            gains[0] = np.inf
        elif before >= source[1]:
            gains[-1] = np.inf
        for first, last in runs:
            gains[first + 1 - target[0] : last - target[0]] = -np.inf
        # Where attention does not say, in proportion.
        middle = (before - source[0]) / max(source[1] - source[0], 1) * (len(gains) - 1)
        best = np.flatnonzero(gains >= gains.max() - 1e-6)
        at = int(min(best, key=lambda one: abs(one - middle))) + target[0]
        if mark.start and self._source[mark.start - 1].isspace():
            return self.target[at][0] if at < target[1] else chars[1]
        return self.target[at - 1][1] if at > target[0] else chars[0]


def _best_run(gain_T: np.ndarray, free: np.ndarray) -> tuple[int, int] | None:
    """The row of free words with the largest sum; None: no sum is above 0."""
    best, found = 0.0, None
    start, total = 0, 0.0
    for word, gain in enumerate(gain_T):
        if not free[word] or total <= 0:
            start, total = word, 0.0
        if free[word]:
            total += gain
            if total > best + 1e-9:
                best, found = total, (start, word + 1)
    return found


def _breaks(
    source: str,
    target: str,
    breaks: list[Mark],
    places: list[Place],
    marks_block: re.Pattern[str] | None,
) -> dict[int, tuple[int, Mark]] | None:
    """The places of breaks.

    Where there are too few places for all, those between subtitles come first, and other breaks are
    left out; None: there are too few for these.
    """
    if not breaks:
        return {}
    taken = [(one.start, one.end) for one in _flat(places) if one.mark.close is None]
    free = [
        (start, end) for start, end in _divisions(target)
        if not any(first < end and start < last for first, last in taken)
    ]  # fmt: skip
    if len(free) < len(breaks):
        breaks = [mark for mark in breaks if "-->" in mark.raw]
        if len(free) < len(breaks):
            return None
    found: dict[int, tuple[int, Mark]] = {}
    begin = 0
    for left, mark in zip(range(len(breaks) - 1, -1, -1), breaks, strict=True):
        wanted = mark.start / len(source) * len(target)
        choice = range(begin, len(free) - left)
        good = [i for i in choice if not (
            marks_block and "\n" in mark.raw and marks_block.match(target, free[i][1])
            and not marks_block.match(source, mark.end)
        )]  # fmt: skip
        # Of the same distance, one that is as wide: a space, or none between letters.
        number = min(good or choice, key=lambda i: (
            abs(free[i][0] - wanted), free[i][1] - free[i][0] != mark.end - mark.start
        ))  # fmt: skip
        found[free[number][0]] = (free[number][1], mark)
        begin = number + 1
    return found


def _flat(places: list[Place]) -> list[Place]:
    return [one for place in places for one in (place, *_flat(place.inner))]


def _divisions(line: str) -> list[tuple[int, int]]:
    """Where a line may end: at spaces, and before letters of scripts without spaces."""
    found = [match.span() for match in re.finditer(" ", line)]
    for match in LETTER.finditer(line):
        at = match.start()
        if at and divides(line[at - 1], line[at]):
            found.append((at, at))
    return sorted(found)
