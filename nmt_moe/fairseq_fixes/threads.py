"""Fewer threads where other processes take the processors.

OpenMP's threads wait for each other at the end of each operation, and spin until then. Where
another process takes the processor from one of them, all of them stand still, often for as long as
the system lets that process run. With as many threads as processors are free none waits
(benchmarks/busy.py measures both). How long they spin is decided when OpenMP is loaded, before a
plugin of fairseq is; their number is not.

A thread looks once a second, and hands a new number to the main thread, which takes it between two
operations: an update beside a busy process may take longer than all of the look.

Another number of threads rounds some sums otherwise. ``OMP_NUM_THREADS`` keeps the number as it is.
"""

import ctypes
import logging
import math
import multiprocessing.process
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from nmt_moe.fairseq_fixes import program
from nmt_moe.fairseq_fixes.fix import Fix

KEPT_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""A user's own number of threads."""

_INTERVAL = 1.0  # seconds between two looks
_IN_A_ROW = 2  # looks that have to agree before the number changes
_SLACK = 0.4  # of a processor, which others may take without a change

_logger = logging.getLogger(__name__)


class Threads:
    """The number of threads of this process, at most that of its start."""

    def __init__(self) -> None:
        self.processors = os.sched_getaffinity(0)
        self.most = self.threads = torch.get_num_threads()
        self.best: list[int] = []
        self.said = False
        # Called with Python's lock, as the interpreter's main thread calls what is pending.
        self.take = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(self._take)

    def watch(self) -> None:
        """Begin to look, where more than one thread computes."""
        if self.most > 1 and not torch.cuda.is_initialized():
            threading.Thread(target=self._look, name="threads", daemon=True).start()

    def _look(self) -> None:
        looked, used = time.monotonic(), (_busy(self.processors), _own())
        while True:
            time.sleep(_INTERVAL)
            (all_before, own_before), used = used, (_busy(self.processors), _own())
            (all_after, own_after), seconds = used, time.monotonic() - looked
            own = sum(spent - own_before.get(pid, 0.0) for pid, spent in own_after.items())
            looked += seconds
            self.follow(max(0.0, all_after - all_before - own) / seconds)

    def follow(self, others: float) -> None:
        """Take in that others have used so many processors since the last look."""
        free = len(self.processors) - others
        best = min(self.most, max(1, math.floor(free + _SLACK)))
        self.best = [*self.best[1 - _IN_A_ROW :], best]
        changed = min(max(self.threads, min(self.best)), max(self.best))
        if changed == self.threads or len(self.best) < _IN_A_ROW:
            return
        self.threads = changed
        ctypes.pythonapi.Py_AddPendingCall(self.take, None)  # OpenMP's number is of one thread
        if not self.said:
            self.said = True
            _logger.info(
                f"other processes use {others:.1f} of {len(self.processors)} processors: "
                f"{changed} of {self.most} threads while they do (OMP_NUM_THREADS={self.most} "
                "keeps all)"
            )

    def _take(self, _: int | None) -> int:
        torch.set_num_threads(self.threads)
        return 0


def _busy(processors: set[int]) -> float:
    """Seconds that these processors have worked, but for what steps back when others work."""
    ticks = 0
    nice = os.getpriority(os.PRIO_PROCESS, 0) > 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *counts = line.split()
        if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in processors:
            user, low, system, _, _, *interrupts_and_stolen = map(int, counts[:8])
            ticks += user + nice * low + system + sum(interrupts_and_stolen)
    return ticks / os.sysconf("SC_CLK_TCK")


def _own() -> dict[int, float]:
    """Seconds that this process and those that prepare its batches have worked."""
    spent = {os.getpid(): time.process_time()}
    # multiprocessing.active_children() would reap what has ended, beside the main thread.
    children = list(multiprocessing.process._children)  # type: ignore[attr-defined]
    for pid in filter(None, (child.pid for child in children)):
        with suppress(OSError):  # just ended
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            spent[pid] = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    return spent


@cache
def _watch() -> None:
    """In one of fairseq's commands look from its first step on whether others are at work."""
    command = program.name() is not None
    if command and os.path.exists("/proc/stat") and not any(map(os.environ.get, KEPT_BY)):
        Threads().watch()


def _watched(step: Callable[..., Any]) -> Callable[..., Any]:
    def step_after_watch(*args: Any, **kwargs: Any) -> Any:
        _watch()
        return step(*args, **kwargs)

    return step_after_watch


@cache
def one_after_fork() -> None:
    """Let processes that are forked from this one compute with one thread.

    OpenMP's other threads stay behind, and a child that gives them work waits for ever.
    """
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


FIXES = tuple(
    Fix(
        f"fairseq.tasks.fairseq_task:FairseqTask.{step}",
        _watched,
        "Beside other busy processes a command computes with as many threads as processors are "
        "free.",
    )
    for step in ("train_step", "valid_step", "inference_step")
)
