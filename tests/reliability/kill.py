"""Kills at chosen moments: at an operation on files, within a write, or after some time."""

import os
import random
import resource
import signal
import sys
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}


def fresh() -> random.Random:
    """Other moments in each run; the seed is shown when a test fails."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


def _watch(
    folder: Path, note: Callable[[], Any], kinds: Collection[str] = ("open", *_CHANGES)
) -> None:
    """Call ``note`` before this process changes anything in a folder."""
    below = f"{folder}/"

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in kinds:
            return
        if event == "open":
            path, _, flags = arguments
            changes = flags & (os.O_WRONLY | os.O_RDWR)
        else:
            path, changes = arguments[0], True
        if changes and isinstance(path, str | os.PathLike) and str(path).startswith(below):
            note()

    sys.addaudithook(hook)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_change(
    folder: Path, number: int, kinds: Collection[str] = ("open", *_CHANGES)
) -> Callable[[], None]:
    """For a child process: it is killed before it changes something for the ``number``th time.

    A change is a file that is opened to be written, or made, renamed or removed.
    """

    def prepare() -> None:
        left = number

        def note() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                _die()

        _watch(folder, note, kinds)

    return prepare


def at_rename(folder: Path, number: int) -> Callable[[], None]:
    """The same, where only giving a file another name is a change."""
    return at_change(folder, number, ("os.rename",))


def counting(folder: Path, counter: Path) -> Callable[[], None]:
    """For a child process: each change adds a byte to a file elsewhere."""

    def prepare() -> None:
        counts = os.open(counter, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        _watch(folder, lambda: os.write(counts, b"1"))

    return prepare


def within_a_write(size: int) -> Callable[[], None]:
    """For a child process: it is killed when a file of its gets more bytes than ``size``."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return prepare


def after(seconds: float) -> Callable[[], None]:
    """For a child process: it is killed after some time."""

    def prepare() -> None:
        timer = threading.Timer(seconds, _die)
        timer.daemon = True
        timer.start()

    return prepare
