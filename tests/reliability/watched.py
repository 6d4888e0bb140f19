"""What a training holds while it runs, noted by itself: what it can give back does not count."""

import ctypes
import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fairseq.trainer import Trainer

from tests.reliability.processes import memory, of_group, open_files


@dataclass
class Held:
    """After an update."""

    updates: int
    mib: float
    """Memory, without what no object needs any more and what malloc keeps for later."""
    files: int
    processes: int


def note(path: Path, every: int) -> Callable[[], None]:
    """To prepare a child that trains, see :func:`~tests.reliability.children.in_a_child`."""
    return partial(_note, path, every)


def noted(path: Path) -> list[Held]:
    """Of the training, in its order."""
    rows = (line.split() for line in path.read_text().splitlines())
    return [Held(int(n), float(mib), int(files), int(count)) for n, mib, files, count in rows]


def _note(path: Path, every: int) -> None:
    give_back = ctypes.CDLL(None).malloc_trim
    pid = os.getpid()
    done = Trainer.set_num_updates

    def set_num_updates(trainer: Any, updates: int) -> None:
        done(trainer, updates)
        if updates and updates % every == 0:
            files, processes = open_files(pid), len(of_group(pid))
            gc.collect()
            give_back(0)
            with path.open("a") as file:
                file.write(f"{updates} {memory(pid)} {files} {processes}\n")

    Trainer.set_num_updates = set_num_updates
