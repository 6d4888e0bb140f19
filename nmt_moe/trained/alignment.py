"""Translations with their alignments: what each piece was made from, by the attention."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import regex

from nmt_moe.common.scripts import LETTER
from nmt_moe.corpus.wordpieces.reversible import WORD, within_character

_BYTE = regex.compile("<0x[0-9A-F]{2}>")
_ALONE = LETTER.pattern.removeprefix("(?V1)")
_WORD = regex.compile(rf"(?V1){_ALONE}|(?:(?!{_ALONE})[\w\p{{M}}'’])+|[^\w\s]")


@dataclass
class Aligned:
    """A translation, and which pieces of the source each of its pieces was made from.

    A piece has its place in the text: its first character, and the one after its last.
    """

    text: str
    source: list[tuple[int, int]] = field(default_factory=list)
    target: list[tuple[int, int]] = field(default_factory=list)
    attention: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """``[target pieces, source pieces]``; empty where it is not known."""


def places(pieces: Sequence[str], text: str) -> list[tuple[int, int]] | None:
    """Where the pieces of a text are in it, without the spaces; None: they are another text's.

    Of a character that is spelled in bytes, the piece of the first byte has it.
    """
    solid = [place for place, char in enumerate(text) if not char.isspace()]
    found: list[tuple[int, int]] = []
    done = 0
    for piece in pieces:
        if _BYTE.fullmatch(piece):
            count = 0 if within_character(piece) else 1
        else:
            count = len(piece.replace(WORD, ""))
        if done + count > len(solid):
            return None
        own = solid[done : done + count]
        at = solid[done] if done < len(solid) else len(text)
        found.append((own[0], own[-1] + 1) if own else (at, at))
        done += count
    return found if done == len(solid) else None


def words(text: str) -> list[tuple[int, int]]:
    """Where the words of a text are; a mark is one, and a letter where there are no spaces."""
    return [match.span() for match in _WORD.finditer(text)]


def shares(
    aligned: Aligned, target: list[tuple[int, int]], source: list[tuple[int, int]]
) -> np.ndarray:
    """How the attention of each translated word is shared among the source words: ``[T, S]``."""
    if not aligned.attention.size:
        return np.zeros((len(target), len(source)))
    share_TS = (
        _overlaps(target, aligned.target) @ aligned.attention @ _overlaps(source, aligned.source).T
    )
    total_T = share_TS.sum(axis=1, keepdims=True)
    return np.divide(share_TS, total_T, out=np.zeros_like(share_TS), where=total_T > 0)


def _overlaps(words: list[tuple[int, int]], pieces: Sequence[tuple[int, int]]) -> np.ndarray:
    """Whether words and pieces have characters in common."""
    words_W, pieces_P = (np.array(one).reshape(-1, 2) for one in (words, pieces))
    shared_WP = (words_W[:, :1] < pieces_P[:, 1]) & (words_W[:, 1:] > pieces_P[:, 0])
    return shared_WP.astype(float)
