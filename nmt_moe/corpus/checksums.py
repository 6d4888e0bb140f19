"""Verifying archives by their size and checksums, or by the checksum of their first use.

Where a manifest has no SHA-256, that of the first complete file is recorded in ``SHA256SUMS``
beside it, which ``sha256sum --check`` reads too.
"""

import hashlib
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.corpus import archives
from nmt_moe.corpus.manifest import Archive

SUMS = "SHA256SUMS"
_BLOCK = 1 << 20


def verify(archive: Archive, folder: Path) -> None:
    """Verify an archive before it is read.

    Raises:
        UserError: it is missing, or not the expected file.
    """
    path = folder / archive.name
    if not path.is_file():
        raise UserError(f"no archive {path}: get it with nmt-moe corpus download")
    found = trouble(archive, path)
    if found:
        raise UserError(f"{path}: {found}")


def trouble(archive: Archive, path: Path) -> str | None:
    """Describe why a file is not the expected archive, None if it is.

    A file without a known checksum is read to its end as an archive.

    Args:
        archive: the expected archive.
        path: the file; checksums of its first use are read from its folder.
    """
    size = path.stat().st_size
    if archive.bytes is not None and size != archive.bytes:
        return f"it should have {archive.bytes:,} bytes and has {size:,}"
    known = {"md5": archive.md5, "sha256": archive.sha256}
    where = dict.fromkeys(known, "the manifest")
    if not archive.sha256:
        known["sha256"] = _read(path.parent).get(archive.name)
        where["sha256"] = str(path.parent / SUMS)
    expected = {name: value for name, value in known.items() if value}
    for name, value in _digests(path, list(expected)).items():
        if value != expected[name].lower():
            return f"its {name} should be {expected[name]}, says {where[name]}, and is {value}"
    broken = None if expected else archives.trouble(path)
    return f"it is no complete archive: {broken}" if broken else None


def record(archive: Archive, folder: Path) -> None:
    """Record the SHA-256 of a verified archive, unless it is known."""
    sums = _read(folder)
    if archive.sha256 or archive.name in sums:
        return
    sums |= {archive.name: _digests(folder / archive.name, ["sha256"])["sha256"]}
    with atomic_write([folder / SUMS]) as [file]:
        file.writelines(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))


def _read(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    if not path.is_file():
        return {}
    sums = {}
    for number, line in enumerate(
        path.read_text(encoding="utf-8", errors="replace").splitlines(), 1
    ):
        digest, _, name = line.partition(" ")
        if len(digest) != 64 or not name:
            raise UserError(f"{path}, line {number}: no SHA-256 and name")
        sums[name[1:]] = digest  # a space or, for binary files, a star comes before the name
    return sums


def _digests(path: Path, names: list[str]) -> dict[str, str]:
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    with path.open("rb") as file:
        while hashes and (block := file.read(_BLOCK)):
            for value in hashes.values():
                value.update(block)
    return {name: value.hexdigest() for name, value in hashes.items()}
