"""Symbols as wordpieces, and wordpieces as readable text."""

from collections.abc import Iterable, Sequence

from fairseq.data import Dictionary

from nmt_moe.corpus.wordpieces.reversible import WORD, join


class Spelling:
    """The spelling of the symbols of a dictionary.

    Args:
        words: a dictionary of wordpieces; the symbols of any other dictionary are taken as words.
    """

    def __init__(self, words: Dictionary) -> None:
        self._symbols = words.symbols
        self._special = set(words.symbols[: words.nspecial])
        self._wordpieces = any(WORD in symbol for symbol in words.symbols)

    def piece(self, number: int) -> str:
        """A symbol as in the dictionary, such as ``▁the``."""
        return self._symbols[number]

    def pieces(self, numbers: Iterable[int]) -> list[str]:
        """Several symbols as in the dictionary."""
        return [self._symbols[number] for number in numbers]

    def text(self, pieces: Sequence[str]) -> str:
        """Join pieces to text, with a space before each word, the first one too.

        Special symbols, such as ``</s>``, stand apart as words do.
        """
        if not self._wordpieces:
            return "".join(f" {piece}" for piece in pieces)
        return join(WORD + piece if piece in self._special else piece for piece in pieces)
