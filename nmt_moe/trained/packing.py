"""A model's folder as one file, zip or tar.gz, and back.

The same folder gives the same bytes. Of a file from elsewhere nothing is written outside the new
folder, and the checksums of ``model.json`` are compared before the folder has its name.
"""

import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.trained import folder as folders
from nmt_moe.trained.folder import ABOUT, MODEL, ModelFolder

ENDINGS = (".zip", ".tar.gz", ".tgz")

_MODE = 0o644
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first that a zip archive can have


def pack(model: ModelFolder, out: Path) -> None:
    """Write all files of a model's folder, but hidden ones, into one file.

    Args:
        model: the folder, which is checked first.
        out: the file, whose ending says which kind it is.

    Raises:
        UserError: the folder is damaged, or the ending is another.
    """
    check(model, out)
    model.check()
    top = PurePosixPath(model.path.resolve().name)
    files = {str(top / name): model.path / name for name in _names(model.path)}
    with atomic_write([out], "wb") as [file]:
        (_zip if out.name.endswith(".zip") else _tar)(files, file)


def check(model: ModelFolder, out: Path) -> None:
    """Raise a :class:`UserError` for a file that a model cannot be packed into."""
    if not out.name.endswith(ENDINGS):
        raise UserError(f"{out}: the name of a packed model ends with {' or '.join(ENDINGS)}")
    if model.path.resolve() in out.resolve().parents:
        raise UserError(f"{out} is in the folder that is packed: write to another place")


def _names(path: Path) -> list[str]:
    inside = (file.relative_to(path) for file in path.rglob("*") if file.is_file())
    return sorted(
        name.as_posix() for name in inside if not any(part[0] == "." for part in name.parts)
    )


def _zip(files: dict[str, Path], out: IO[bytes]) -> None:
    with zipfile.ZipFile(out, "w") as archive:
        for name, path in files.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = (stat.S_IFREG | _MODE) << 16
            # Weights hardly become smaller.
            small = path.name != MODEL
            info.compress_type = zipfile.ZIP_DEFLATED if small else zipfile.ZIP_STORED
            info.file_size = path.stat().st_size  # above 2 GB it has another format
            with path.open("rb") as read, archive.open(info, "w") as written:
                shutil.copyfileobj(read, written)


def _tar(files: dict[str, Path], out: IO[bytes]) -> None:
    with (
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, path in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = path.stat().st_size, _MODE
            with path.open("rb") as read:
                archive.addfile(info, read)


def unpack(packed: Path, out: Path | None = None) -> ModelFolder:
    """Make a model's folder of a file.

    Args:
        packed: from :func:`pack`, or another zip or tar archive of a model's folder.
        out: the new folder; None: one of the name in the file, in the current folder.

    Raises:
        UserError: the folder is there already; the file is damaged, holds no model or another than
            its checksums say, a path that leaves its folder, or a link.
    """
    if not packed.is_file():
        raise UserError(f"there is no file {packed}")
    if out is not None:
        _check_free(out)
    parent = Path.cwd() if out is None else out.absolute().parent
    draft = parent / f".{packed.name[:50]}.{os.urandom(8).hex()}.draft"
    draft.mkdir(parents=True)
    try:
        _extract(packed, draft)
        found = [*draft.glob(ABOUT), *draft.glob(f"*/{ABOUT}")]
        if len(found) != 1:
            number = "more than one" if found else "no"
            raise UserError(f"{packed} is no packed model: it holds {number} {ABOUT}")
        folder = found[0].parent
        try:
            folders.read(folder).check()
        except UserError as error:
            raise UserError(f"{packed}: {str(error).replace(f'{folder}/', '')}") from None
        if out is None:
            name = packed.name if folder == draft else folder.name
            out = Path(re.sub(r"(\.zip|\.tar\.\w+|\.tgz)$", "", name))
            _check_free(out)
        folder.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folders.read(out)


def _check_free(out: Path) -> None:
    if out.exists():
        raise UserError(f"there is {out} already: name another folder with --out")


def _extract(packed: Path, folder: Path) -> None:
    try:
        members = _of_zip(packed) if zipfile.is_zipfile(packed) else _of_tar(packed)
        for name, file in members:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name or file is None:
                raise UserError(
                    f"{packed} holds {name!r}, which is a link or leaves its folder: nothing was "
                    "unpacked"
                )
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            with (folder / path).open("xb") as written:
                shutil.copyfileobj(file, written)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise UserError(f"{packed} holds {name!r} twice: nothing was unpacked") from None
    except (
        zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error,
        EOFError, NotImplementedError, RuntimeError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())
        raise UserError(f"{packed} is no packed model, or is damaged: {reason}") from None


def _of_zip(packed: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """The files of an archive: their names, and what to read; None: it is no regular file."""
    with zipfile.ZipFile(packed) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16  # 0 where the system has none
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                yield info.filename, None
            elif not info.is_dir():
                with archive.open(info) as file:
                    yield info.filename, file


def _of_tar(packed: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with tarfile.open(packed) as archive:
        for info in archive:
            if not info.isdir():
                yield info.name, archive.extractfile(info) if info.isreg() else None
