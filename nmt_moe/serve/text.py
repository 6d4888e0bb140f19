"""A text as pieces that a model translates, and put together, as ``nmt-moe translate`` does."""

from collections.abc import Callable, Sequence
from pathlib import Path

from nmt_moe.corpus.wordpieces import model as wordpieces
from nmt_moe.trained.text import cleaned, cut, joined
from nmt_moe.translate.sentences import Sentences


class Cutter:
    """Cuts text of a language into what a model takes.

    Args:
        model: file of the sentencepiece model.
        language: of the text.
        limit: the most wordpieces of a part.
    """

    def __init__(self, model: Path, language: str, limit: int) -> None:
        self._model, self._limit = wordpieces.load(model), limit
        self.sentences = Sentences(language)
        """Splits a line."""

    def lines(self, text: str) -> list[list[str]]:
        """The sentences of each line, cleaned. A line ends with a line feed."""
        return [self.sentences(cleaned(line)) for line in text.split("\n")]

    def parts(self, sentence: str) -> list[list[str]]:
        """A sentence in wordpieces, in several parts if it is long."""
        pieces = self._model.encode(sentence, out_type=str)
        return cut(pieces, self._limit) if pieces else []


def whole(ranked: Sequence[Sequence[str]], rank: int = 0) -> str:
    """The translation of a sentence whose parts have several, the best first."""
    return joined(part[min(rank, len(part) - 1)] for part in ranked)


def together(lines: Sequence[Sequence[str]], made: Callable[[str], str] = str) -> str:
    """A text of the translated sentences of its lines."""
    return "\n".join(joined(map(made, line)) for line in lines)
