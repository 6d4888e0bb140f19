"""Lines of any bytes as clean text, lines as sentences, and sentences as what a model can take."""

import re
import sys
from collections.abc import Iterable, Iterator

from sentence_splitter import SentenceSplitter, SentenceSplitterException

from nmt_moe.corpus.clean.rules import plain

_LONG_WORD = 200  # the rules may take cubic time on a longer one, such as a row of dots
_WIDE = tuple("、，；：。！？）」』।॥")  # no space follows these marks, where languages have none
_CLAUSE = (*",;:–—)»", *_WIDE)  # a clause ends with one of these
# The rules know no sentence that ends without a space.
_WIDE_END = re.compile(r"([。！？।॥]+[」』）”’]*)")
_WORD = "▁"  # a word begins with it


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


class Sentences:
    """Finds the sentences of a line by the rules of a language, which know its abbreviations.

    Args:
        language: of the text, such as ``en`` or ``pt_BR``; one without rules has those of English.
    """

    def __init__(self, language: str) -> None:
        code = re.match(r"[a-z]{2}(?![a-zA-Z])", language)
        try:
            self._splitter = SentenceSplitter(code[0] if code else "en")
        except SentenceSplitterException:
            self._splitter = SentenceSplitter("en")

    def __call__(self, line: str) -> list[str]:
        """The sentences of a line, none of an empty one; no character but spaces is lost."""
        parts = _WIDE_END.sub(r"\1\n", line).split("\n")
        return [text for part in parts for text in self._split(part.strip())]

    def _split(self, line: str) -> list[str]:
        if any(len(word) > _LONG_WORD for word in line.split(" ")):
            return [line]
        return [sentence for sentence in self._splitter.split(line) if sentence]


def cut(pieces: list[str], limit: int) -> list[list[str]]:
    """Wordpieces in parts of at most ``limit``, which together are the same pieces.

    A part ends after a clause if its second half has such a place, else after a word, else
    anywhere.
    """
    parts = []
    while len(pieces) > limit:
        words = [
            i for i in range(1, limit + 1)
            if pieces[i].startswith(_WORD) or pieces[i - 1].endswith(_WIDE)
        ]  # fmt: skip
        clauses = [i for i in words if i >= limit / 2 and pieces[i - 1].endswith(_CLAUSE)]
        end = max(clauses or words or [limit])
        parts.append(pieces[:end])
        pieces = pieces[end:]
    return [*parts, pieces]
