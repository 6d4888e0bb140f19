"""Lines of any bytes as clean text, and sentences as what a model can take."""

import sys
from collections.abc import Iterable, Iterator

import regex

from nmt_moe.common.scripts import LETTER
from nmt_moe.corpus.clean.rules import plain
from nmt_moe.corpus.wordpieces.reversible import WORD, within_character
from nmt_moe.translate.sentences import Sentences

__all__ = ["Sentences", "buffered", "cleaned", "cut", "read_clean"]

# No space follows these marks, where languages have none; a clause ends with one, or one of ASCII.
_WIDE = regex.compile(r"(?V1)[[\p{Terminal_Punctuation}）」』]--[\u0000-\u007f]]")
_CLAUSE = tuple(",;:–—)»")


def read_clean(lines: Iterable[bytes]) -> Iterator[str]:
    """The lines of UTF-8 text, whitespace runs as one space, special characters as in cleaning.

    Only a line feed ends a line. Bytes that are not UTF-8 become U+FFFD, with a warning on stderr
    at the first such line.
    """
    warned = False
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("utf-8", errors="replace")
            if not warned:
                print(f"warning: line {number} is not valid UTF-8: replaced", file=sys.stderr)
            warned = True
        yield cleaned(text)


def cleaned(line: str) -> str:
    """A line with special characters as in cleaning and single spaces."""
    return " ".join(plain(line).split())


def buffered(lines: Iterable[str], number: int, characters: int) -> Iterator[list[str]]:
    """The lines in lists of so many, of fewer where they are long."""
    buffer: list[str] = []
    held = 0
    for line in lines:
        buffer.append(line)
        held += len(line)
        if len(buffer) >= number or held >= characters:
            yield buffer
            buffer, held = [], 0
    if buffer:
        yield buffer


def cut(pieces: list[str], limit: int) -> list[list[str]]:
    """Wordpieces in parts of at most ``limit``, which together are the same pieces.

    A part ends after a clause if its second half has such a place, else after a word, else
    anywhere but within a character that is spelled in bytes.
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


def _ends_clause(piece: str) -> bool:
    return piece.endswith(_CLAUSE) or bool(_WIDE.match(piece[-1:]))


def _between_words(left: str, right: str) -> bool:
    """Whether a word may begin with the second piece, where there are no spaces any piece."""
    if right.startswith(WORD) or _WIDE.match(left[-1:]):
        return True
    return not right.isascii() and bool(LETTER.match(right) and LETTER.search(left[-4:]))
