"""A sentence and its translation, with the place where they stand."""

from typing import NamedTuple


def spaced(text: str) -> str:
    """With single spaces, and without the byte-order mark that stands before a file's text."""
    return " ".join(text.removeprefix("\ufeff").split())


class Pair(NamedTuple):
    """A source sentence and its translation; white space is single spaces."""

    source: str
    target: str
    line: int
    """Of the file, from 1."""
