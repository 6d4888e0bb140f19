"""Checkpoints that run no code, are never half-written, and say what is wrong with them.

fairseq has no hooks here. :func:`install`, called when the plugin is imported, replaces four
of its functions; nothing else in this package changes fairseq.
"""

import os
import pickle
import re
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager

from nmt_moe.errors import UserError


def install() -> None:
    """Replace fairseq's functions that read, write, copy and broadcast checkpoints.

    Reading explains a damaged or unsafe file in one line. Writing does not try again at the
    end of what a failed try has left, which would make a file that looks complete and is not.
    Copying goes through a temporary file, so that ``checkpoint_last.pt`` is always whole.
    What the first process has read reaches the others of a training without a second check,
    which fairseq's own objects would fail.
    """
    if getattr(checkpoint_utils.load_checkpoint_to_cpu, "__module__", "") == __name__:
        return
    # fairseq's older parts, such as --optimizer sgd, keep their options in one; it runs no code.
    torch.serialization.add_safe_globals([Namespace])
    checkpoint_utils.load_checkpoint_to_cpu = _explaining(checkpoint_utils.load_checkpoint_to_cpu)
    checkpoint_utils._torch_persistent_save = _save
    PathManager.copy = staticmethod(_copy_whole(PathManager.copy))
    distributed_utils._broadcast_object_slow = _trusting(distributed_utils._broadcast_object_slow)


def _explaining(load: Callable[..., dict]) -> Callable[..., dict]:
    def load_checkpoint_to_cpu(path: str, *args: Any, **kwargs: Any) -> dict:
        try:
            return load(path, *args, **kwargs)
        except pickle.UnpicklingError as error:
            found = re.search(r"GLOBAL (\S+) (was not an allowed|whose module)", str(error))
            if found is None:
                raise UserError(_damaged(path)) from error
            raise UserError(
                f"{path} holds an object of class {found[1]}, which could run code when "
                "loaded, so it was not: use a checkpoint that fairseq-train has written"
            ) from error
        except (FileNotFoundError, IsADirectoryError, PermissionError, MemoryError):
            raise
        except Exception as error:  # torch.load has no one error for what it cannot read
            raise UserError(_damaged(path)) from error

    return load_checkpoint_to_cpu


def _damaged(path: str) -> str:
    return (
        f"{path} is no checkpoint, or is damaged or incomplete: use another one of the same "
        "folder, or remove it to start anew"
    )


def _save(obj: Any, file: Any) -> None:
    model = obj.get("cfg", {}).get("model") if isinstance(obj, dict) else None
    if model and "moe_expert_parallel_size" in model:
        model["moe_expert_parallel_size"] = 1  # the file holds all experts, for any reader
    try:
        torch.save(obj, file)
    except (OSError, RuntimeError) as error:
        path = file if isinstance(file, str) else file.name
        with suppress(OSError):
            os.remove(path)
        raise UserError(
            f"could not write {path.removesuffix('.tmp')}, perhaps because the disk is full: "
            "what was there before is whole; make room and give the same command again"
        ) from error


def _copy_whole(copy: Callable[..., Any]) -> Callable[..., Any]:
    def copy_whole(src_path: str, dst_path: str, overwrite: bool = False) -> Any:
        part = dst_path + ".tmp"
        try:
            copied = copy(src_path, part, overwrite=True)
            os.replace(part, dst_path)
        except OSError as error:
            with suppress(OSError):
                os.remove(part)
            raise UserError(
                f"could not copy {src_path} to {dst_path} ({error.strerror}): what was there "
                "before is whole; make room and give the same command again"
            ) from error
        return copied

    return copy_whole


def _trusting(broadcast: Callable[..., Any]) -> Callable[..., Any]:
    switch = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"

    def broadcast_object_slow(*args: Any, **kwargs: Any) -> Any:
        before = os.environ.get(switch)
        os.environ[switch] = "1"
        try:
            return broadcast(*args, **kwargs)
        finally:
            del os.environ[switch]
            if before is not None:
                os.environ[switch] = before

    return broadcast_object_slow
