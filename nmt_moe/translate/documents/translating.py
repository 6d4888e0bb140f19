"""Translating the units of a document: all sentences together, and their markup put back."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import regex

from nmt_moe.trained.alignment import Aligned
from nmt_moe.trained.text import joined
from nmt_moe.translate.documents.parts import Document, Unit, Writing
from nmt_moe.translate.documents.placing import Place, Placed, place
from nmt_moe.translate.documents.units import Mark, Sentence, read, sentences

Translate = Callable[[list[str]], list[Aligned]]
"""Translates sentences and aligns the translations, as ``Translator.aligned`` does."""

_NUMBER = regex.compile(r"\d{1,9}(?=[.)])")
_BUFFER_CHARACTERS = 1_000_000


@dataclass
class _Work:
    """A sentence, its translation, and what became of it."""

    sentence: Sentence
    aligned: Aligned | None = None
    placed: Placed | None = None
    pieces: list["_Piece"] = field(default_factory=list)
    """Of a sentence whose marks have no places: what is between them."""


@dataclass
class _Piece:
    """Text between two marks, or the characters of a mark."""

    text: str
    raw: bool = False
    translation: str | None = None


class Documents:
    """Translates documents.

    Args:
        translate: translates sentences.
        split: cuts a line into sentences; None: no line is cut.
        terms: what stays as it is, see :func:`terms`.
        buffer: units that are translated together.
    """

    def __init__(
        self,
        translate: Translate,
        split: Callable[[str], list[str]] | None,
        terms: regex.Pattern[str] | None = None,
        buffer: int = 1000,
    ) -> None:
        self._translate, self._split, self._terms = translate, split, terms
        self._buffer = buffer

    def __call__(self, document: Document) -> Iterator[tuple[str, int]]:
        """The translated document in parts, each with the number of units in it."""
        for held in self._buffered(document):
            units = [one for one in held if isinstance(one, Unit)]
            translated = iter(self._units(units))
            text = "".join(one if isinstance(one, str) else next(translated) for one in held)
            yield text, len(units)

    def _buffered(self, document: Document) -> Iterator[list[str | Unit]]:
        held: list[str | Unit] = []
        units = characters = 0
        for one in document:
            held.append(one)
            if isinstance(one, Unit):
                units += 1
                characters += sum(len(part.text) for part in one.parts)
            if units >= self._buffer or characters >= _BUFFER_CHARACTERS:
                yield held
                held, units, characters = [], 0, 0
        if held:
            yield held

    def _units(self, units: Sequence[Unit]) -> list[str]:
        read_units = [self._sentences(unit) for unit in units]
        asked = [work for works in read_units for work in works if work.sentence.has_words]
        found = self._translate([work.sentence.text for work in asked]) if asked else []
        for work, aligned in zip(asked, found, strict=True):
            work.aligned = aligned
        for unit, works in zip(units, read_units, strict=True):
            for work in works:
                if work.aligned is not None:
                    work.placed = place(work.sentence, work.aligned, unit.marks_block)
        self._in_pieces([work for work in asked if work.placed is None])
        written = [_written(unit, works) for unit, works in zip(units, read_units, strict=True)]
        # Markup at another place may be other markup: then it stays in the order of the source.
        wrong = [number for number, one in enumerate(written) if one is None]
        self._in_pieces([
            work for number in wrong for work in read_units[number]
            if work.aligned is not None and not work.pieces
        ])  # fmt: skip
        return [
            _write(unit, works, careful=True) if one is None else one
            for one, unit, works in zip(written, units, read_units, strict=True)
        ]

    def _sentences(self, unit: Unit) -> list[_Work]:
        text, marks = read(unit, self._terms)
        if not text:
            return []
        found = self._split(text) if self._split else [text]
        return [_Work(sentence) for sentence in sentences(text, marks, found)]

    def _in_pieces(self, works: Sequence[_Work]) -> None:
        """Translate what is between the marks of sentences."""
        for work in works:
            work.pieces = _pieces(work.sentence)
        asked = [
            piece for work in works for piece in work.pieces
            if not piece.raw and any(map(str.isalpha, piece.text))
        ]  # fmt: skip
        if not asked:
            return
        found = self._translate([piece.text.strip() for piece in asked])
        for piece, aligned in zip(asked, found, strict=True):
            piece.translation = aligned.text


def _pieces(sentence: Sentence) -> list[_Piece]:
    """The text of a sentence between its marks, and the marks."""
    ends = [
        (m.order, m.start, m.end if m.close is None else m.start, m.raw) for m in sentence.marks
    ]
    ends += [(m.close_order, m.end, m.end, m.close) for m in sentence.marks if m.close is not None]
    found: list[_Piece] = []
    place = 0
    for _, start, end, raw in sorted(ends):
        found += [_Piece(sentence.text[place:start]), _Piece(raw, raw=True)]
        place = end
    found.append(_Piece(sentence.text[place:]))
    return [piece for piece in found if piece.text]


def _written(unit: Unit, works: Sequence[_Work]) -> str | None:
    """A unit in the file's form, or None where its markup would be other markup.

    One that its translation leaves as it is stays to the byte.
    """
    if all(
        work.aligned is None or work.aligned.text == work.sentence.text for work in works
    ) and not any(work.pieces for work in works):
        return unit.raw
    for careful in (False, True):
        written = _write(unit, works, careful)
        if unit.markup is None or unit.markup(written) == unit.markup(unit.raw):
            return written
    return None


def _write(unit: Unit, works: Sequence[_Work], careful: bool) -> str:
    writer = _Writer(unit, careful)
    before: Sentence | None = None
    left = ""
    for work in works:
        text = work.aligned.text if work.aligned is not None else work.sentence.text
        if before is not None:
            writer.mark(_between(before.text, work.sentence, left, text))
        if work.pieces:
            writer.pieces(work.pieces)
        else:
            placed = work.placed or Placed(text, _as_written(work.sentence), _own_breaks(work))
            writer.placed(placed, work.sentence)
        before, left = work.sentence, text
    return writer.text


def _between(source_left: str, sentence: Sentence, left: str, right: str) -> str:
    """The space between two translations: as in the source, where the scripts are alike."""
    before = sentence.before
    if before not in ("", " "):
        return before
    if not left or not right:
        return before
    own = joined([source_left[-9:], sentence.text])[len(source_left[-9:])] == " "
    theirs = joined([left[-9:], right])[len(left[-9:])] == " "
    return before if own == theirs else " " * theirs


def _as_written(sentence: Sentence) -> list[Place]:
    """The places of the marks of a sentence that is not translated."""
    found: list[Place] = []
    held: list[Place] = []
    for mark in sentence.marks:
        if mark.is_break:
            continue
        while held and not (mark.order < held[-1].mark.close_order):
            held.pop()
        one = Place(mark, mark.start, mark.end)
        (held[-1].inner if held else found).append(one)
        if mark.close is not None:
            held.append(one)
    return found


def _own_breaks(work: _Work) -> dict[int, tuple[int, Mark]]:
    return {mark.start: (mark.end, mark) for mark in work.sentence.marks if mark.is_break}


class _Writer:
    """Writes the text of a unit."""

    def __init__(self, unit: Unit, careful: bool) -> None:
        self._writing = Writing(unit, careful)
        self._marks_block = unit.marks_block
        self._begins = True  # a line
        self._address = False  # was written last
        self._found: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._found)

    def mark(self, raw: str, address: bool = False) -> None:
        """Write the characters of a mark; an address may have come beside a word."""
        if raw:
            if address and self._joins(raw):
                self._found.append(" ")
            self._address = address
            self._found.append(raw)
            self._begins = "\n" in raw

    def _joins(self, text: str) -> bool:
        """Whether a text would make one word with what is written."""
        both = (self._found[-1][-1:] if self._found else "") + text[:1]
        return bool(regex.fullmatch(r"(?a)\w\w", both))

    def pieces(self, pieces: Sequence[_Piece]) -> None:
        for piece in pieces:
            if piece.raw:
                self.mark(piece.text)
                continue
            text = piece.text
            if piece.translation is not None:
                said = text.strip()
                start = text.index(said)
                text = text[:start] + piece.translation + text[start + len(said) :]
            self._write(text, piece.text)

    def placed(self, placed: Placed, sentence: Sentence) -> None:
        self._source = self._sentence = sentence.text
        self._level(placed, placed.places, 0, len(placed.text))

    def _level(self, placed: Placed, places: Sequence[Place], start: int, end: int) -> None:
        for one in places:
            self._span(placed, start, one.start)
            start = max(start, one.end)
            self.mark(one.mark.raw, address=one.mark.close is None)
            if one.mark.close is not None:
                self._level(placed, one.inner, one.start, one.end)
                self.mark(one.mark.close)
        self._span(placed, start, end)

    def _span(self, placed: Placed, start: int, end: int) -> None:
        """Write text between two places, with its breaks."""
        for at in sorted(placed.breaks):
            after, mark = placed.breaks[at]
            if start <= at < end or (start <= at == end == after):
                self._write(placed.text[start:at], self._source)
                self.mark(mark.raw)
                self._source = self._sentence[mark.end :]
                start = after
        self._write(placed.text[start:end], self._source)

    def _write(self, text: str, source: str) -> None:
        """Write translated text; ``source``: where it may begin a line, that of the source."""
        if not text:
            return
        if self._address and self._joins(text):
            self._found.append(" ")
        self._address = False
        guard = self._marks_block
        if guard and self._begins and guard.match(text) and not guard.match(source):
            number = _NUMBER.match(text)
            self._found.append(self._writing(number[0]) if number else "")
            self._found.append("\\")
            text = text[number.end() :] if number else text
        self._found.append(self._writing(text))
        self._begins = False


def terms(lines: Iterable[str]) -> regex.Pattern[str] | None:
    """What finds terms in a text, of several the longest; None: there are none.

    A term is found as whole words, with the same capitals.
    """
    found = sorted({" ".join(line.split()) for line in lines} - {""}, key=len, reverse=True)
    if not found:
        return None
    one = "|".join(
        (r"(?<!\w)" if term[0].isalnum() else "")
        + regex.escape(term)
        + (r"(?!\w)" if term[-1].isalnum() else "")
        for term in found
    )
    return regex.compile(one)
