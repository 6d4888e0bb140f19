"""End a training at once that was told to end and does not.

Python runs a signal's handler between two steps of its main thread. That may wait for ever inside
a library, for a process that does not answer or a batch that never comes; another thread then ends
the process: at a second SIGTERM or Ctrl-C, or a minute after the first one without an update.
Files are written beside those that they replace, so what was saved stays whole.
"""

import multiprocessing
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from nmt_moe.fairseq_fixes import program

STOPPED = "NMT_MOE_STOPPED"
"""A file with the code that a training ended with after it was told to: torchrun does not tell."""

_PATIENCE = 60.0  # seconds without an update
_ONE_ASK = 0.8  # seconds in which a process may be told again: by itself, a recipe, a launcher
_SIGNALS: dict[int, str] = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}

_progress = 0.0  # when the last update or save was done
_longest = 0.0  # seconds of an update
_between = 0.0  # since when the training has been about an update; 0: it is not
_saving = False
_NOTHING = "nothing was saved"
_saved = _NOTHING


@cache
def install() -> None:
    """Watch this process, a command of fairseq, from now on.

    A program that trains by itself may live longer than its training.
    """
    if program.name() is None or threading.current_thread() is not threading.main_thread():
        return
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=_watch, args=(heard,), daemon=True).start()


def begin() -> None:
    """An update begins."""
    global _between
    _between = time.monotonic()


def done() -> None:
    """An update is done."""
    global _progress, _longest, _between
    _progress = time.monotonic()
    if _between:
        _longest = max(_longest, _progress - _between)
    _between = 0.0


@contextmanager
def saving() -> Iterator[None]:
    """A save takes as long as it needs."""
    global _saving, _progress
    _saving = True
    try:
        yield
    finally:
        _saving, _progress = False, time.monotonic()


def saved(folder: str, updates: int) -> None:
    """What to say at a sudden end."""
    global _saved
    if not updates:
        _saved = _NOTHING
        return
    _saved = f"{folder} has what was saved after update {updates:,}, the same command goes on there"


def note(code: int) -> bool:
    """Tell a launcher with what this process ends; whether no other one has done so."""
    if STOPPED not in os.environ:
        return True
    try:
        with open(os.environ[STOPPED], "x") as file:
            file.write(str(code))
    except FileExistsError:
        return False
    except OSError:  # the launcher is gone
        pass
    return True


def _watch(heard: int) -> None:
    asked, first = 0.0, 0
    while True:
        wait = None
        if asked:
            # No update can be expected sooner than the slowest one so far.
            patience = max(_PATIENCE, 2 * _longest)
            wait = 1.0 if _saving else max(asked, _progress) + patience - time.monotonic()
        if wait is not None and wait <= 0:
            _end(first, f"told by {_SIGNALS[first]}, and then {patience:.0f} s without an update")
        if not select.select([heard], [], [], wait)[0]:
            continue
        for number in os.read(heard, 64):
            if number not in _SIGNALS:
                continue
            now = time.monotonic()
            if not asked:
                asked, first = now, number
            elif now - asked >= _ONE_ASK:
                _end(number, f"a second {_SIGNALS[number]}")


def _end(number: int, why: str) -> None:
    for child in multiprocessing.active_children():
        child.kill()
    # A pipe that nobody reads would keep this thread, too.
    if note(128 + number) and select.select([], [2], [], 1)[1]:
        os.write(2, f"error: {why}: ended at once; {_saved}\n".encode())
    os._exit(128 + number)
