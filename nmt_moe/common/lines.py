"""Parallel text as files of lines: read with errors that name file and line, kept aligned."""

import bz2
import gzip
import lzma
import zlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from nmt_moe.common.errors import UserError

PACKED: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
}
"""How the files are opened that end so."""
READING = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""The errors of a file that is not there, or is damaged."""


def open_bytes(path: Path) -> IO[bytes]:
    """Open a plain file, or one that is packed with gzip, xz or bzip2."""
    return PACKED[path.suffix](path) if path.suffix in PACKED else path.open("rb")


def unreadable(path: Path, error: Exception, where: str = "") -> UserError:
    """The error for a file that is not there, truncated, or no archive."""
    reason = getattr(error, "strerror", None) or error
    return UserError(f"{path}: cannot be read{where}: {reason}")


def whole_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, plain or packed, each with its line feed.

    A byte-order mark at the start, also of files that were put together, is no part of the text.

    Raises:
        UserError: no such file, not UTF-8, or a truncated archive; names the file and the line.
    """
    number = 0  # of the line that is read or decoded
    try:
        with open_bytes(path) as file:
            for line in file:
                number += 1
                yield line.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        what = f"{path}, line {number}: not valid UTF-8 (byte {error.start + 1})"
        if number == 1 and line.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            what += f" but UTF-16: convert it with iconv -f UTF-16 -t UTF-8 {path}"
        else:
            what += f": if it is Latin-1, convert it with iconv -f LATIN1 -t UTF-8 {path}"
        raise UserError(what) from None
    except READING as error:
        raise unreadable(path, error, f" after line {number}" if number else "") from None


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, without line end, whitespace runs as one space.

    Only a line feed ends a line: a carriage return, a line separator or a no-break space inside a
    line is whitespace, so that every later tool counts the same lines as this one.

    Raises:
        UserError: as :func:`whole_lines`.
    """
    for line in whole_lines(path):
        yield " ".join(line.split())


def read_pairs(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    """The pairs of two aligned files.

    Raises:
        UserError: the files have different numbers of lines (known at the end of the shorter).
    """
    sources, targets = read_lines(source), read_lines(target)
    pairs = 0
    for line in sources:
        other = next(targets, None)
        if other is None:
            raise _different_length(source, pairs + 1 + _count(sources), target, pairs)
        yield line, other
        pairs += 1
    if next(targets, None) is not None:
        raise _different_length(source, pairs, target, pairs + 1 + _count(targets))


def _count(lines: Iterator[str]) -> int:
    return sum(1 for _ in lines)


def _different_length(source: Path, sources: int, target: Path, targets: int) -> UserError:
    return UserError(
        f"{source} has {sources:,} lines but {target} has {targets:,}: "
        "line n of one must be the translation of line n of the other"
    )
