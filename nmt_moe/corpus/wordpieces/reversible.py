"""Wordpieces that give back the text they were made of, whatever characters it has.

Two rules, which ``nmt-moe corpus wordpieces train`` writes into the sentencepiece model, are all
that happens to a text before it is cut: a run of white space (what ``str.isspace`` calls so) is one
space, none at the ends; and the mark that begins words in pieces is written in another way where
the text has it itself. A character that the vocabulary does not have is spelled with the pieces of
its bytes in UTF-8, ``<0xE6> <0xBC> <0xA2>``.

Models of other origin know neither; for their pieces nothing here changes.
"""

import re
import sys
from collections.abc import Iterable
from itertools import groupby

WORD = "\u2581"
"""Begins the first piece of a word."""
DIGITS = "0123456789"
"""Pieces of every vocabulary, so that numbers are spelled alike whatever the text had."""
GIVEN = 256 + len(DIGITS)
"""Pieces of a vocabulary that it does not learn: the bytes and the digits."""

_ESCAPE = "\U000f2581"  # of private use: for Unicode it means nothing
_ESCAPES = {WORD: f"{_ESCAPE}1", _ESCAPE: f"{_ESCAPE}0"}
_UNESCAPED = {escaped: character for character, escaped in _ESCAPES.items()}
_ESCAPED = re.compile(f"{_ESCAPE}[01]")
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_CONTINUED = re.compile(r"<0x[89AB][0-9A-F]>")


def encoding_rules() -> str:
    """What sentencepiece changes in text before it cuts it, as its ``normalization_rule_tsv``."""
    spaces = filter(str.isspace, map(chr, range(sys.maxunicode + 1)))
    return _rules({space: " " for space in spaces if space != " "} | _ESCAPES)


def decoding_rules() -> str:
    """What it changes in the text of pieces, as its ``denormalization_rule_tsv``."""
    return _rules(_UNESCAPED)


def _rules(changes: dict[str, str]) -> str:
    return "".join(f"{_numbers(old)}\t{_numbers(new)}\n" for old, new in changes.items())


def _numbers(text: str) -> str:
    return " ".join(f"{ord(character):X}" for character in text)


def join(pieces: Iterable[str]) -> str:
    """The text of pieces, with a space where a word begins, the first one too.

    It has no line ends. Bytes that are no character, as a model may write them, are U+FFFD.
    """
    text = "".join(
        _characters(run) if spelled else "".join(run).replace(WORD, " ")
        for spelled, run in groupby(pieces, key=lambda piece: bool(_BYTE.fullmatch(piece)))
    )
    return _ESCAPED.sub(lambda match: _UNESCAPED[match[0]], text)


def _characters(pieces: Iterable[str]) -> str:
    text = bytes(int(piece[3:5], 16) for piece in pieces).decode(errors="replace")
    return re.sub(r"\s", " ", text)


def spelled(line: str) -> str:
    """The characters of a line of pieces that are spelled in bytes."""
    return _characters(piece for piece in line.split(" ") if _BYTE.fullmatch(piece))


def within_character(piece: str) -> bool:
    """Whether a piece goes on with the bytes of a character."""
    return bool(_CONTINUED.fullmatch(piece))
