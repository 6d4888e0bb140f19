"""Copying members of tar archives by name; nothing else is unpacked.

The name of a member is never used as a path. Memory holds one block of a member.
"""

import contextlib
import gzip
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

from nmt_moe.common.errors import UserError

_BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"
_LARGEST = 1 << 50  # bytes of a member
# tarfile answers headers that make no sense with ValueError, those of petabytes with MemoryError.
_BROKEN = (
    *(tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error),
    *(ValueError, OverflowError, MemoryError),
)


class Output(Protocol):
    """Receives the bytes of a member."""

    def write(self, block: bytes, /) -> object:
        """Write the next bytes."""


def extract(archive: Path, outputs: Mapping[str, Output]) -> None:
    """Copy members of a ``.tar`` or ``.tgz``; members whose names end in ``.gz`` are decompressed.

    Args:
        archive: read once, up to the last of the members.
        outputs: the output of each member.

    Raises:
        UserError: the archive is truncated or damaged or lacks a member; names both.
    """
    missing = dict(outputs)
    reading = ""
    try:
        with _opened(archive) as (tar, file):
            for member in _members(tar):
                name = member.name.removeprefix("./")
                if name in missing and member.isfile():
                    reading = name
                    _copy(cast(IO[bytes], tar.extractfile(member)), name, missing.pop(name))
                    reading = ""
                if not missing:
                    return
            _check_end(tar, file)
    except UserError:  # of an output
        raise
    except _BROKEN as error:
        where = f"at {reading}" if reading else f"before {' and '.join(missing)}"
        raise UserError(f"{archive} is truncated or damaged, {where}: {_reason(error)}") from None
    raise UserError(f"{archive} has no {' and no '.join(missing)}")


def trouble(archive: Path) -> str | None:
    """Describe the damage of an archive, None if it can be read to its end.

    Verifies the checksums of gzip, of a ``.tgz`` and of ``.gz`` members; a ``.tar`` has none.
    """
    try:
        with _opened(archive) as (tar, file):
            for member in _members(tar):
                if member.isfile() and member.name.endswith(".gz"):
                    with gzip.GzipFile(fileobj=tar.extractfile(member)) as inner:
                        while inner.read(_BLOCK):
                            pass
            _check_end(tar, file)
            while file.read(_BLOCK):  # gzip's checksum comes last
                pass
    except _BROKEN as error:
        return _reason(error)
    return None


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members; older Pythons would go back by a negative size, and for ever round."""
    for member in tar:
        if not 0 <= member.size < _LARGEST:
            raise tarfile.ReadError(f"a member of {member.size} bytes")
        yield member


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _check_end(tar: tarfile.TarFile, file: BinaryIO) -> None:
    """A tar that was cut between two members looks complete but for the block that ends it."""
    if file.tell() <= tar.offset:
        raise EOFError("its end is missing")


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[tuple[tarfile.TarFile, BinaryIO]]:
    """The archive, and the file that tarfile reads it from."""
    with contextlib.ExitStack() as stack:
        file: BinaryIO = stack.enter_context(archive.open("rb"))
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        if packed:
            file = cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=file)))
        yield stack.enter_context(tarfile.open(fileobj=file, mode="r:")), file


def _copy(content: IO[bytes], name: str, output: Output) -> None:
    with gzip.GzipFile(fileobj=content) if name.endswith(".gz") else content as file:
        while block := file.read(_BLOCK):
            output.write(block)
