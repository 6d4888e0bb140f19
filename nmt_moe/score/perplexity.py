"""Perplexity of a test set, from the output of ``fairseq-generate --score-reference``."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmt_moe.common.errors import UserError
from nmt_moe.common.scripts import words

_LINE = re.compile(r"([TDHP])-(\d+)\t(.*)")


@dataclass(frozen=True)
class Perplexity:
    """The perplexity of the references under a model, ends of sentences included."""

    bits: float
    pieces: int
    words: int

    @property
    def per_piece(self) -> float:
        """Per wordpiece: not comparable between models of different vocabularies."""
        return 2 ** (self.bits / self.pieces)

    @property
    def per_word(self) -> float:
        """Per word between spaces; a letter of a script without spaces counts as one word."""
        return 2 ** (self.bits / self.words)

    def as_dict(self) -> dict[str, Any]:
        figures = {"per_piece": self.per_piece, "per_word": self.per_word}
        return figures | {"bits": self.bits, "pieces": self.pieces, "words": self.words}


def read(path: Path, references: Iterable[str]) -> Perplexity:
    """Sum up the scores in ``generate-test.txt`` of fairseq-generate.

    Args:
        path: the file.
        references: the lines of the test set, whose words are counted.

    Raises:
        UserError: the file has another format, or scores of other sentences or of translations.
    """
    bits, pieces, sentences, reference = 0.0, 0, 0, ""
    score = math.nan
    for kind, number, rest in _scores(path):
        if kind == "T":
            reference = rest.replace("<<unk>>", "<unk>")  # how fairseq marks it in references
        elif kind == "H":
            score = float(rest.partition("\t")[0])  # the mean of the pieces, to base 2
        elif kind == "D" and rest.partition("\t")[2] != reference:
            raise UserError(
                f"{path}, sentence {number}: these are scores of a translation and not of the "
                "reference: make it with fairseq-generate --score-reference"
            )
        elif kind == "P":
            length = len(rest.split())
            bits, pieces, sentences = bits - score * length, pieces + length, sentences + 1
    counts = [words(line) + 1 for line in references]
    if len(counts) != sentences:
        raise UserError(
            f"{path} holds the scores of {sentences:,} sentences, the test set has "
            f"{len(counts):,}: make it with fairseq-generate --score-reference "
            "--required-batch-size-multiple 1"
        )
    return Perplexity(bits, pieces, sum(counts))


def _scores(path: Path) -> Iterator[tuple[str, ...]]:
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            found = _LINE.match(line)
            if found:
                yield found.groups()
