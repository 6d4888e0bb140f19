"""Records shared by the tables: word forms, slots and sentence templates."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

LANGUAGES = ("en", "de", "fr")


class Forms(dict[str, str]):
    """The forms of one value in one language; ``""`` is the form of a bare ``{slot}``.

    In a template ``{place:zum}`` picks the form called ``zum``.
    """

    def __format__(self, spec: str) -> str:
        """Return the form called ``spec``."""
        if spec not in self:
            raise KeyError(f"no form {spec!r} among {sorted(self)} of {self.get('', '?')!r}")
        return self[spec]


Entry = dict[str, Forms]


class Slot:
    """A fixed sequence of values, each written in the three languages when asked for."""

    def __init__(self, values: Sequence[object], write: Callable[..., Entry]) -> None:
        """Keep the values and the function that writes one of them."""
        self._values = values
        self._write = write
        self._entries: dict[int, Entry] = {}

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._values)

    def entry(self, index: int) -> Entry:
        """Return the forms of value number ``index``, by language."""
        if index not in self._entries:
            self._entries[index] = self._write(self._values[index])
        return self._entries[index]


@dataclass(frozen=True)
class Trilingual:
    """A text in three languages, with its domain."""

    domain: str
    en: str
    de: str
    fr: str

    def text(self, language: str) -> str:
        """Return the text in ``language``."""
        return {"en": self.en, "de": self.de, "fr": self.fr}[language]


class Template(Trilingual):
    """One sentence in three languages. Fields look like ``{city}``, ``{city2}``, ``{city:de}``.

    A number after the slot's name gives a second value of that slot, different from the first.
    """

    def fields(self, language: str = "en") -> tuple[str, ...]:
        """Return the names of the fields in their first order of appearance, without repeats."""
        return _fields(self.text(language))


@cache
def _fields(text: str) -> tuple[str, ...]:
    names = (field for _, field, _, _ in string.Formatter().parse(text))
    return tuple(dict.fromkeys(name for name in names if name is not None))


def slot_name(field: str) -> str:
    """Return the slot of a field: ``city2`` draws from ``city``."""
    return field.rstrip(string.digits)


def tidy(text: str) -> str:
    """Return ``text`` in NFC with ordinary single spaces, plain apostrophes and no controls.

    CLDR puts no-break spaces, thin spaces and sometimes invisible marks into its patterns.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.translate(_TIDY).split())


class _Tidy(dict[int, str]):
    """What a character becomes, looked up once: a corpus has few, and millions of times."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        if category in ("Zs", "Zl", "Zp", "Cc"):
            char = " "
        elif category == "Cf":
            char = ""
        self[code] = char
        return char


_TIDY = _Tidy({ord("\u2019"): "'"})


def sentence(text: str) -> str:
    """Return tidied ``text`` with a capital letter at its start."""
    text = tidy(text)
    return text[:1].upper() + text[1:]
