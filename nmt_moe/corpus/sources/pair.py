"""A sentence and its translation, with the place where they stand."""

from typing import NamedTuple


class Pair(NamedTuple):
    """A source sentence and its translation; white space is single spaces."""

    source: str
    target: str
    line: int
    """Of the file, from 1."""
