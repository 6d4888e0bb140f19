"""Reading parallel text as chunks of aligned raw lines, whatever bytes they hold."""

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from nmt_moe.common.errors import UserError

MAX_LINE = 2**20  # bytes; of a longer line only the start is read
_PAIRS = 1000  # of a chunk
_BYTES = 2**19  # of one side of a chunk, about


class Chunk(NamedTuple):
    """Consecutive pairs: a list of lines for each side, without line ends."""

    source: list[bytes]
    target: list[bytes]
    name: str  # of the corpus
    first: int  # number of its first line, from 1


def find(prefix: Path, language: str) -> Path:
    """The file ``PREFIX.LANGUAGE`` or ``PREFIX.LANGUAGE.gz``.

    Raises:
        UserError: neither exists.
    """
    plain = prefix.with_name(f"{prefix.name}.{language}")
    packed = plain.with_name(plain.name + ".gz")
    for path in (plain, packed):
        if path.exists():
            return path
    raise UserError(f"there is neither {plain} nor {packed.name}")


def read_chunks(source: Path, target: Path, name: str) -> Iterator[Chunk]:
    """The pairs of two aligned files, plain or gzipped.

    Only a line feed ends a line. A line of more than ``MAX_LINE`` bytes comes as its first
    ``MAX_LINE + 1``.

    Raises:
        UserError: the files have different numbers of lines (known at the end of the shorter), or
            cannot be read.
    """
    with open_bytes(source) as source_file, open_bytes(target) as target_file:
        chunk, bytes_read, pairs = Chunk([], [], name, 1), 0, 0
        while True:
            line, other = _line(source_file, source), _line(target_file, target)
            if line is None or other is None:
                break
            pairs += 1
            chunk.source.append(line)
            chunk.target.append(other)
            bytes_read += max(len(line), len(other))
            if len(chunk.source) == _PAIRS or bytes_read >= _BYTES:
                yield chunk
                chunk, bytes_read = Chunk([], [], name, pairs + 1), 0
        if line is not None or other is not None:
            sources = pairs + (line is not None) + _count(source_file, source)
            targets = pairs + (other is not None) + _count(target_file, target)
            raise UserError(
                f"{source} has {sources:,} lines but {target} has {targets:,}: "
                "line n of one must be the translation of line n of the other"
            )
        if chunk.source:
            yield chunk


def open_bytes(path: Path) -> BinaryIO:
    """Open a plain or gzipped file."""
    return io.BufferedReader(gzip.open(path), 2**17) if path.suffix == ".gz" else path.open("rb")


def _line(file: BinaryIO, path: Path) -> bytes | None:
    """The next line without its end, or None after the last."""
    try:
        line = file.readline(MAX_LINE + 1)
        if line.endswith(b"\n"):
            return line[:-1]
        rest = line
        while len(rest) > MAX_LINE and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from None
    return line or None


def _count(file: BinaryIO, path: Path) -> int:
    """The lines that are left."""
    lines = 0
    while _line(file, path) is not None:
        lines += 1
    return lines


def unreadable(path: Path, error: Exception) -> UserError:
    """The error for a file that is truncated or no archive."""
    reason = getattr(error, "strerror", None) or error
    return UserError(f"{path}: cannot be read to its end: {reason}")
