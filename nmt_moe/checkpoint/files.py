"""Checkpoint files: read without running code, and written whole or not at all."""

import os
import pickle
import re
import tarfile
import zipfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch

from nmt_moe.checkpoint.plain import plain, restored
from nmt_moe.common.errors import UserError

_FOLDER = 0x10  # among the attributes of a file in a zip archive


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn errors of ``torch.load`` into one line that says what is wrong with the file."""
    try:
        yield
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+) (was not an allowed|whose module)", str(error))
        if found is None:
            raise UserError(_damaged(path)) from error
        raise UserError(
            f"{path} holds an object of class {found[1]}, which could run code when "
            "loaded, so it was not: use a checkpoint that fairseq-train has written"
        ) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError, MemoryError, UserError):
        raise
    except Exception as error:  # torch.load has no one error for what it cannot read
        if _is_packed(path):
            raise UserError(f"{path} is packed: nmt-moe model unpack {path}") from error
        raise UserError(_damaged(path)) from error


def _is_packed(path: str) -> bool:
    """Whether it is a model's folder in an archive."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        else:
            with tarfile.open(path) as packed:
                names = packed.getnames()
    except Exception:  # zipfile and tarfile have no one error for damage either
        return False
    return any(name.endswith("/model.json") for name in names)


def _damaged(path: str) -> str:
    return (
        f"{path} is no checkpoint, or is damaged or incomplete: use another one of the same "
        "folder, or remove it to start anew"
    )


def check(path: str) -> None:
    """Raise an error if the file is damaged.

    ``torch.save`` writes a checksum of each tensor, but ``torch.load`` does not verify it, and
    would load other numbers. Files of torch before 1.6 have no checksums.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"PK\3\4":
            return  # no zip archive: torch.load says so unless it is an old one
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
        folders = [one.filename for one in archive.infolist() if one.external_attr & _FOLDER]
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} has another checksum")
    if folders:  # of which torch.load reads nothing, and leaves the tensor to chance
        raise zipfile.BadZipFile(f"{folders[0]} is marked as a folder")


def read(path: str, checked: bool = False) -> dict[str, Any]:
    """Read a checkpoint; its tensors stay in the file until they are used.

    Args:
        path: the file.
        checked: skip reading the whole file to verify its checksums, because this was done before
            or the tensors do not matter.

    Raises:
        UserError: the file is no checkpoint, or is damaged.
    """
    with explained(path):
        if not checked:
            check(path)
        state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        # Where fairseq looks for the model and for the number of updates.
        if not (isinstance(state["model"], dict) and state["optimizer_history"]):
            raise ValueError("no checkpoint of fairseq-train")
        return restored(state)


def options(cfg: Mapping[str, Any], of: str) -> dict[str, Any]:
    """The options of a part of fairseq, such as ``model``."""
    found = cfg.get(of)
    return vars(found) if isinstance(found, Namespace) else dict(found or {})


def own_options(cfg: Mapping[str, Any], of: str) -> dict[str, Any]:
    """The same without the options of other parts: fairseq's older parts keep those of the whole
    command."""
    found = options(cfg, of)
    if not isinstance(cfg.get(of), Namespace):
        return found
    others = {name for part in cfg.values() if isinstance(part, Mapping) for name in part}
    return {k: v for k, v in found.items() if k == "_name" or k not in others | cfg.keys()}


def write(state: Any, file: Any, remove: bool = True) -> None:
    """``torch.save`` the state, converted to plain types, to a path or an open file.

    The file is removed if this fails, unless ``remove`` is false, as for a file of
    :func:`~nmt_moe.common.files.atomic_write`.

    Raises:
        UserError: the file could not be written, or the state holds what no reader could load.
    """
    try:
        torch.save(plain(state), file)
        if not isinstance(file, str):
            file.flush()
    except BaseException as error:
        path = file if isinstance(file, str) else file.name
        if remove:
            with suppress(OSError):
                os.remove(path)
        if not isinstance(error, OSError | RuntimeError):  # Ctrl-C
            raise
        raise UserError(
            f"could not write {path.removesuffix('.tmp')}, perhaps because the disk is full: "
            "what was there before is whole; free some space and rerun the same command"
        ) from error
