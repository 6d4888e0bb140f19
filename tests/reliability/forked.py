"""fairseq's commands in processes that need not import everything again."""

import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
import torch._dynamo  # torch does so at the first optimizer: not in each process anew

from tests.forks import end_by_itself, read_options_once


def apart(
    log: Path,
    command: Callable[[], None],
    options: list[object],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Call the ``cli_main`` of a command in a process of its own, to its end, which must be good.

    Args:
        log: where its output goes.
        command: what to call.
        options: what it reads from ``sys.argv``.
        dtype: of all numbers that it makes and that have no other.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    read_options_once()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        _become(log, command, options, dtype)
    _, status = os.waitpid(child, 0)
    if status:
        code = os.waitstatus_to_exitcode(status)
        raise RuntimeError(f"ended with {code}: {log.read_text()}")


def _become(
    log: Path, command: Callable[[], None], options: list[object], dtype: torch.dtype
) -> None:
    code = 1
    end_by_itself()
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        # fairseq sets it up as it is imported, and pytest for itself.
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, force=True)
        sys.argv = [command.__module__, *map(str, options)]
        torch.set_default_dtype(dtype)
        command()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
