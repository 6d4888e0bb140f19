"""Text before and after a model: cleaned, cut into short enough parts, and joined again."""

from collections.abc import Callable, Iterable
from itertools import chain, pairwise, zip_longest

import regex

from nmt_moe.common.scripts import CLOSE, HAN, LETTER
from nmt_moe.corpus.clean.rules import plain
from nmt_moe.corpus.wordpieces.reversible import WORD, within_character

# No space follows these marks, where languages have none; a clause ends with one, or one of ASCII.
_WIDE_MARK = regex.compile(r"(?V1)[[\p{Terminal_Punctuation}）」』]--[\u0000-\u007f]]")
_CLAUSE = tuple(",;:–—)»")

_WIDE = regex.compile(rf"[{HAN}\u3000-\u303f\uff00-\uff65]")
_HANGUL = regex.compile(r"\p{Hangul}")
_OUTER = regex.compile(rf"{CLOSE}+$")


def cleaned(line: str) -> str:
    """Clean a line as the training corpus was cleaned, with single spaces."""
    return " ".join(plain(line).split())


def cut(pieces: list[str], limit: int) -> list[list[str]]:
    """Split wordpieces into parts of at most ``limit`` pieces.

    A part ends after a clause if its second half has such a place, otherwise after a word,
    otherwise anywhere but within a character that is spelled in bytes.
    """
    parts = []
    while len(pieces) > limit:
        words = [i for i in range(1, limit + 1) if _between_words(pieces[i - 1], pieces[i])]
        clauses = [i for i in words if i >= limit / 2 and _ends_clause(pieces[i - 1])]
        if not words:
            words = [i for i in range(1, limit + 1) if not within_character(pieces[i])]
        end = max(clauses or words or [limit])
        parts.append(pieces[:end])
        pieces = pieces[end:]
    return [*parts, pieces]


def in_parts(
    sentences: Iterable[list[str]],
    limit: int,
    translate: Callable[[list[list[str]]], list[str]],
) -> list[str]:
    """Translate sentences that come in pieces, of which ``translate`` takes at most ``limit``.

    The translations of the parts of a sentence are joined; an empty sentence has an empty one.
    """
    parts = [cut(pieces, limit) if pieces else [] for pieces in sentences]
    translated = iter(translate([*chain(*parts)]))
    return [joined(next(translated) for _ in found) for found in parts]


def _ends_clause(piece: str) -> bool:
    return piece.endswith(_CLAUSE) or bool(_WIDE_MARK.match(piece[-1:]))


def _between_words(left: str, right: str) -> bool:
    """Whether a word may begin with the second piece, where there are no spaces any piece."""
    if right.startswith(WORD) or _WIDE_MARK.match(left[-1:]):
        return True
    return not right.isascii() and bool(LETTER.match(right) and LETTER.search(left[-4:]))


def joined(texts: Iterable[str]) -> str:
    """Join consecutive texts, with spaces between them where their scripts use spaces."""
    found = [*filter(None, texts)]
    spaces = ("" if _close(left, right) else " " for left, right in pairwise(found))
    return "".join(chain(*zip_longest(found, spaces, fillvalue="")))


def _close(left: str, right: str) -> bool:
    """Whether there is no space between two sentences, as in Chinese and Japanese."""
    if left.endswith("་"):  # a Tibetan word goes on
        return True
    if _HANGUL.search(left) or _HANGUL.search(right):
        return False
    return bool(_WIDE.match(_OUTER.sub("", left[-9:])[-1:]) or _WIDE.match(right))
