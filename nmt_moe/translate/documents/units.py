"""A unit as the model reads it: its text with single spaces, and where its markup stands in it."""

from dataclasses import dataclass, replace

import regex

from nmt_moe.common.scripts import LETTER
from nmt_moe.corpus.clean.rules import plain
from nmt_moe.trained.text import joined
from nmt_moe.translate.documents.parts import Kind, Unit

_RUN = regex.compile(r"\s+|\S+")
_OPENING = regex.compile(r"[\p{Ps}\p{Pi}\s]")
_LONGEST_SHOWN = 30  # characters of code that a model is given to read


@dataclass
class Mark:
    """What is not text in a unit.

    A mark without a width is a point, one with ``close`` a span that it opens, any other an atom or
    a break, which have characters of the text of their own.
    """

    raw: str
    order: float
    """Among all marks of the unit, where a span counts at both its ends."""
    start: int
    """In the text of the unit or the sentence, as ``end``."""
    end: int
    close: str | None = None
    close_order: float = 0
    is_break: bool = False
    open_here: bool = True
    """Whether a span begins in this sentence."""
    close_here: bool = True


@dataclass
class Sentence:
    """A sentence of a unit, with the marks in it; its places are in its own text."""

    text: str
    marks: list[Mark]
    before: str = ""
    """The white space between it and the sentence before."""

    @property
    def has_words(self) -> bool:
        """Whether anything in it has to be translated."""
        covered = [mark for mark in self.marks if mark.close is None and not mark.is_break]
        free = list(self.text)
        for mark in covered:
            free[mark.start : mark.end] = " " * (mark.end - mark.start)
        return any(map(str.isalpha, free))


def divides(before: str, after: str) -> bool:
    """Whether a text without spaces may be divided between two characters."""
    return bool(LETTER.match(after)) and not _OPENING.match(before)


class _Reading:
    """Collects the text of a unit and its marks."""

    def __init__(self) -> None:
        self.chars: list[str] = []
        self.raws: list[str] = []  # what each character is in the file
        self.marks: list[Mark] = []
        self._open: list[tuple[str, Mark]] = []
        self._last: Mark | None = None  # the mark that stands before the next character
        self._orders = 0

    def order(self) -> int:
        self._orders += 1
        return self._orders

    def mark(self, raw: str, width: int = 0, is_break: bool = False) -> Mark:
        end = len(self.chars)
        mark = Mark(raw, self.order(), end - width, end, is_break=is_break)
        self.marks.append(mark)
        self._last = None if width and not is_break else mark
        return mark

    def space(self, raw: str) -> None:
        if self.chars and self.chars[-1] != " ":
            self.chars.append(" ")
            self.raws.append(raw)
            self._last = None
            if raw != " ":
                self.mark(raw, 1, is_break=True)
        elif self._last is None:
            if self.chars:  # a space that came before is a longer one now
                self.mark(f" {raw}", 1, is_break=True)
                self.raws[-1] += raw
            else:
                self.mark(raw)
        elif self._last.close is None or self._last.close_order == 0:
            self._last.raw += raw
        else:
            self._last.close += raw

    def run(self, raw: str, text: str) -> None:
        if not text:
            return
        last = self._last
        if last and last.is_break and "\n" in last.raw and last.end == len(self.chars) > last.start:
            before = self.chars[-2]
            if divides(before, text) and joined([before, text]) == before + text:
                del self.chars[-1], self.raws[-1]
                last.end = last.start
        same = len(raw) == len(text)
        for number, char in enumerate(text):
            self.chars.append(char)
            self.raws.append(raw[number] if same else "" if number else raw)
        self._last = None

    def opened(self, raw: str, name: str) -> None:
        self._open.append((name, self.mark(raw)))

    def closed(self, raw: str, name: str) -> None:
        """A CLOSE without its OPEN is a point, and so is an OPEN without its CLOSE."""
        names = [name for name, _ in self._open]
        if name not in names:
            self.mark(raw)
            return
        while self._open[-1][0] != name:
            self._open.pop()
        _, mark = self._open.pop()
        mark.close, mark.close_order, mark.end = raw, self.order(), len(self.chars)
        self._last = mark

    def trim(self) -> None:
        """A space at the end becomes a point."""
        if not self.chars or self.chars[-1] != " ":
            return
        end = len(self.chars) - 1
        held = [
            mark
            for mark in self.marks
            if mark.is_break and (mark.start, mark.end) == (end, end + 1)
        ]
        if held:
            held[0].is_break = False
        else:
            before = [m.order for m in self.marks if m.start <= end]
            before += [m.close_order for m in self.marks if m.close is not None and m.end <= end]
            self.marks.append(Mark(" ", max(before, default=0) + 0.5, end, end))
        del self.chars[-1], self.raws[-1]
        for mark in self.marks:
            mark.start, mark.end = min(mark.start, end), min(mark.end, end)


def read(unit: Unit, terms: regex.Pattern[str] | None) -> tuple[str, list[Mark]]:
    """The text of a unit, and its marks in their order.

    Args:
        unit: of a document.
        terms: what stays as it is in the text.
    """
    reading = _Reading()
    for part in unit.parts:
        if part.kind is Kind.OPEN:
            reading.opened(part.raw, part.name)
        elif part.kind is Kind.CLOSE:
            reading.closed(part.raw if part.changed is None else part.changed, part.name)
        elif part.kind is Kind.BREAK or (part.text.isspace() and part.raw):
            reading.space(part.raw)
        elif part.kind is Kind.ATOM:
            shown = " ".join(plain(part.text).split())
            if 0 < len(shown) <= _LONGEST_SHOWN:
                reading.run(part.raw, shown)
                reading.mark(part.raw, len(shown))
            else:
                reading.mark(part.raw)
        elif part.raw != part.text:
            reading.run(part.raw, plain(part.text))
        else:
            for match in _RUN.finditer(part.text):
                if match[0].isspace():
                    reading.space(match[0])
                else:
                    reading.run(match[0], plain(match[0]))
    reading.trim()
    text = "".join(reading.chars)
    marks = reading.marks
    if terms is not None:
        marks = _with_terms(text, marks, reading.raws, terms)
    return text, sorted(marks, key=lambda mark: mark.order)


def _with_terms(
    text: str, marks: list[Mark], raws: list[str], terms: regex.Pattern[str]
) -> list[Mark]:
    """Add the terms as atoms; one that markup divides is none."""
    for match in terms.finditer(text):
        start, end = match.span()
        within = [m for m in marks if m.is_break and start <= m.start and m.end <= end]
        others = [m for m in marks if m not in within]
        ends = [place for m in others for place in (m.start, m.end)]
        covered = any(m.close is None and m.start < end and m.end > start for m in others)
        if covered or any(start < place < end for place in ends):
            continue
        orders = [m.order for m in marks if m.start <= start]
        orders += [m.close_order for m in marks if m.close is not None and m.end <= start]
        atom = Mark("".join(raws[start:end]), max(orders, default=0) + 0.5, start, end)
        marks = [*others, atom]
    return marks


def sentences(text: str, marks: list[Mark], found: list[str]) -> list[Sentence]:
    """Cut a unit into sentences with their marks; a span may have parts in several.

    Args:
        text: of the unit.
        marks: of the unit.
        found: its sentences, in which only spaces may be missing.
    """
    ranges = _ranges(text, found, [m for m in marks if m.close is None and not m.is_break])
    cut = [Sentence(text[start:end], []) for start, end in ranges]
    for (_, end), (start, _), sentence in zip(ranges, ranges[1:], cut[1:], strict=False):
        sentence.before = text[end:start]
    owners = _owners(marks, ranges)
    for mark in marks:
        first, last = owners[mark.order], owners[mark.close_order or mark.order]
        if mark.is_break and mark.end <= ranges[first][0] and first:
            cut[first].before = mark.raw
            continue
        for number in range(first, last + 1):
            start, end = ranges[number]
            moved = replace(
                mark,
                start=mark.start - start if number == first else 0,
                end=mark.end - start if number == last else end - start,
            )
            if mark.close is not None:
                moved.open_here, moved.close_here = number == first, number == last
                moved.raw, moved.close = mark.raw * moved.open_here, mark.close * moved.close_here
            cut[number].marks += _usable(moved, cut[number].text)
    for sentence in cut:
        sentence.marks.sort(key=lambda mark: mark.order)
    return cut


def _owners(marks: list[Mark], ranges: list[tuple[int, int]]) -> dict[float, int]:
    """The sentence of each mark, and of both ends of a span, by their orders."""
    ends = [
        (m.order, m.start if m.close is not None else m.end, m.close is not None) for m in marks
    ]
    ends += [(m.close_order, m.end, False) for m in marks if m.close is not None]
    owners: dict[float, int] = {}
    now = 0
    for order, place, opens in sorted(ends):
        while now + 1 < len(ranges) and (
            place > ranges[now][1] or (opens and place == ranges[now][1] == ranges[now + 1][0])
        ):
            now += 1
        owners[order] = now
    return owners


def _usable(mark: Mark, text: str) -> list[Mark]:
    """A span without words in it becomes the points of its ends."""
    if mark.close is None or text[mark.start : mark.end].strip():
        return [mark]
    first = Mark(mark.raw, mark.order, mark.start, mark.start)
    last = Mark(mark.close, mark.close_order, mark.end, mark.end)
    return [*[first] * mark.open_here, *[last] * mark.close_here]


def _ranges(text: str, found: list[str], atoms: list[Mark]) -> list[tuple[int, int]]:
    """The places of sentences; an atom is never divided."""
    ranges: list[tuple[int, int]] = []
    place = 0
    for sentence in found:
        wanted = sum(not char.isspace() for char in sentence)
        while place < len(text) and text[place] == " ":
            place += 1
        start = place
        while wanted and place < len(text):
            wanted -= text[place] != " "
            place += 1
        if ranges and any(mark.start < start and mark.end > ranges[-1][1] for mark in atoms):
            start = ranges.pop()[0]
        ranges.append((start, place))
    return ranges
