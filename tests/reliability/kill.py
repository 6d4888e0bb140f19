"""Kills at chosen moments: before a file is changed, or within a write or a copy.

Each is something to call first in a child process, and can be pickled. SIGKILL is for its group,
which is its own in :func:`tests.reliability.children.in_a_child`: the processes that it has
started end with it.
"""

import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

_CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}
_NEVER = sys.maxsize


def fresh() -> random.Random:
    """Other moments in each run; the seed is shown when a test fails."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


def at_change(folder: Path, number: int = _NEVER) -> Callable[[], None]:
    """A kill before something in a folder is changed for the ``number``th time.

    A change is a file that is opened to be written, or made, renamed or removed, by the command
    or a process that it has started.
    """
    return partial(_at_change, folder, number)


def changes(folder: Path) -> int:
    """How often something was changed by the last command that was prepared with at_change."""
    return _counter(folder).stat().st_size


def at_rename(folder: Path, number: int) -> Callable[[], None]:
    """A kill of one process alone, before it renames a file for the ``number``th time."""
    return partial(_at_rename, folder, number)


def within_a_write(size: int) -> Callable[[], None]:
    """The end, by SIGXFSZ, when a file gets more bytes than ``size``."""
    return partial(_within_a_write, size)


def within_a_copy(size: int) -> Callable[[], None]:
    """The end, by SIGXFSZ, when a copy of a file gets more bytes than ``size``."""
    return partial(_within_a_copy, size)


def _at_change(folder: Path, number: int) -> None:
    assert os.getpgrp() == os.getpid()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    counter = os.open(_counter(folder), flags)  # also that of the processes it starts

    def note() -> None:
        os.write(counter, b".")
        if os.fstat(counter).st_size >= number:
            os.killpg(0, signal.SIGKILL)

    _watch(folder, _CHANGES, note)


def _counter(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.changes")


def _at_rename(folder: Path, number: int) -> None:
    left = number

    def note() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    _watch(folder, {"os.rename"}, note)


def _within_a_write(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _within_a_copy(size: int) -> None:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "shutil.copyfile":
            _within_a_write(size)

    sys.addaudithook(hook)


def _watch(folder: Path, kinds: set[str], note: Callable[[], Any]) -> None:
    """Call ``note`` before this process changes anything in a folder."""
    below = f"{folder}/"

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in kinds:
            return
        path = arguments[0]
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if isinstance(path, str | os.PathLike) and str(path).startswith(below):
            note()

    sys.addaudithook(hook)
