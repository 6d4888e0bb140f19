"""Kills at chosen moments: at an operation on files, within a write, or after some time.

Each is something to call first in a child process. SIGKILL is for its group, which is its own in
:func:`tests.reliability.disk.in_a_child`: the processes that it has started end with it.
"""

import os
import random
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}


def fresh() -> random.Random:
    """Other moments in each run; the seed is shown when a test fails."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


def at_change(folder: Path, number: int) -> Callable[[], None]:
    """A kill before something in a folder is changed for the ``number``th time.

    A change is a file that is opened to be written, or made, renamed or removed.
    """

    def prepare() -> None:
        assert os.getpgrp() == os.getpid()
        _watch(folder, _CHANGES, _counted(number, lambda: os.killpg(0, signal.SIGKILL)))

    return prepare


def at_rename(folder: Path, number: int) -> Callable[[], None]:
    """A kill of one process alone, before it renames a file for the ``number``th time."""
    return lambda: _watch(
        folder, {"os.rename"}, _counted(number, lambda: os.kill(os.getpid(), signal.SIGKILL))
    )


def counting(folder: Path, counter: Path) -> Callable[[], None]:
    """No kill: each change adds a byte to a file elsewhere."""

    def prepare() -> None:
        counts = os.open(counter, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        _watch(folder, _CHANGES, lambda: os.write(counts, b"1"))

    return prepare


def within_a_write(size: int) -> Callable[[], None]:
    """The end, by SIGXFSZ, when a file gets more bytes than ``size``."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return prepare


def after(seconds: float) -> Callable[[], None]:
    """A kill after some time."""

    def prepare() -> None:
        assert os.getpgrp() == os.getpid()
        timer = threading.Timer(seconds, os.killpg, (0, signal.SIGKILL))
        timer.daemon = True
        timer.start()

    return prepare


def _counted(number: int, action: Callable[[], Any]) -> Callable[[], None]:
    left = number

    def note() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            action()

    return note


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
