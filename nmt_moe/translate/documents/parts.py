"""What a file is cut into: strings that stay as they are, and units of text with markup inside."""

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

Kind = Enum("Kind", "TEXT OPEN CLOSE ATOM BREAK")
Kind.__doc__ = """What a part of a unit is.

TEXT is translated. OPEN and CLOSE surround text, such as the tags of bold letters. An ATOM stays as
it is; with a text that a model reads in its place, such as a name, or with none, such as a picture.
A BREAK is white space that divides the text, such as a line end with the next line's indentation.
"""


@dataclass(frozen=True)
class Part:
    """A part of a unit."""

    kind: Kind
    raw: str
    """Its characters in the file."""
    text: str = ""
    """The text that they stand for."""
    name: str = ""
    """Of OPEN and CLOSE: those of one name belong together."""
    changed: str | None = None
    """Its characters in a translation, if they are others."""


def text(raw: str, meaning: str | None = None) -> Part:
    """Text; its meaning where it is written in another way, such as ``&amp;``."""
    return Part(Kind.TEXT, raw, raw if meaning is None else meaning)


def atom(raw: str, shown: str = "") -> Part:
    return Part(Kind.ATOM, raw, shown)


def _same(char: str) -> str:
    return char


@dataclass
class Unit:
    """Text that is translated together, such as a paragraph."""

    parts: list[Part]
    escape: Callable[[str], str] = field(default=_same)
    """Writes a character of the text in the file's form."""
    marks_block: re.Pattern[str] | None = None
    """What may not stand at the beginning of a line, because it would begin a block there."""
    markup: Callable[[str], object] | None = None
    """What markup there is in characters of the file; it has to be the same in the translation."""

    @property
    def raw(self) -> str:
        return "".join(part.raw for part in self.parts)


Document = Iterator[str | Unit]


class Writing:
    """Writes translated characters in a file's form.

    A character that the unit has is written as there, the n-th as its n-th: ``&`` in HTML may be
    ``&`` or ``&amp;``.

    Args:
        unit: as it was.
        careful: write no character as markup might be written, though the unit does.
    """

    def __init__(self, unit: Unit, careful: bool = False) -> None:
        self._escape = unit.escape
        self._known: dict[str, deque[str]] = defaultdict(deque)
        for part in unit.parts:
            if part.kind is Kind.TEXT:
                same = part.raw == part.text
                for char in part.text if same or len(part.text) == 1 else "":
                    if not char.isspace() and not (careful and same and unit.escape(char) != char):
                        self._known[char].append(char if same else part.raw)

    def __call__(self, text: str) -> str:
        return "".join(map(self._character, text))

    def _character(self, char: str) -> str:
        known = self._known.get(char)
        return known.popleft() if known else self._escape(char)


# Addresses of the web and of mail; a full stop or bracket at the end belongs to the sentence.
_ADDRESS = (
    r"(?a:(?<!\w)(?:https?://|ftp://|www\.)[!#-;=?-~]*[\w/#%&=+~@$-](?<!_)"
    r"|(?<![\w.+-])[\w.+-]+@\w+(?:[.-]\w+)*\.\w+)"
)


def with_atoms(parts: list[Part], pattern: str = "") -> list[Part]:
    """The parts, with addresses and what matches a pattern in their text as atoms."""
    searched = re.compile("|".join(filter(None, [pattern, _ADDRESS])))
    whole: list[Part] = []
    for part in parts:
        plain = part.kind is Kind.TEXT and part.raw == part.text
        if plain and whole and whole[-1].kind is Kind.TEXT and whole[-1].raw == whole[-1].text:
            whole[-1] = text(whole[-1].raw + part.raw)
        else:
            whole.append(part)
    found: list[Part] = []
    for part in whole:
        if part.kind is not Kind.TEXT or part.raw != part.text:
            found.append(part)
            continue
        start = 0
        for match in searched.finditer(part.raw):
            found += [text(part.raw[start : match.start()]), atom(match[0])]
            start = match.end()
        found.append(text(part.raw[start:]))
    return [part for part in found if part.raw]
