"""Was the machine idle? What others took of its processors, before a benchmark and during it.

Others are all processes but the benchmark's own and those that it has started, and the host of a
virtual machine. Memory is what several machines on one host share unseen: there copies tell, those
that took longer than the fastest.
"""

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BEFORE = 0.5  # seconds
TAKEN = 0.1  # of a processor: more is not idle
SLOWER = 1.25  # times the fastest copy: a slower median is not idle
_TICK = os.sysconf("SC_CLK_TCK")
_STAT = Path("/proc/stat")


class Watch:
    """Begins as it is made, before the benchmark."""

    loads_the_machine = False
    """The benchmark starts what disturbs it: what others take then does not count."""

    def __init__(self, seconds: float = BEFORE) -> None:
        self.load, self.cores = os.getloadavg()[0], len(_processors())
        self.began = _now()
        time.sleep(seconds)
        self.before = _taken(self.began)
        self.began = _now()

    def found(self, copies: Sequence[float] = ()) -> dict[str, Any]:
        """What there was until now.

        Args:
            copies: seconds of copies of the same size.

        Returns:
            ``idle``, None where the system does not say; processors that others took ``before``
            and ``during``; the ``load`` of the minute before; ``copies``, the median's and the
            slowest's time over the fastest's; ``why`` it was not idle, in words.
        """
        during = None if self.loads_the_machine else _taken(self.began)
        why = []
        taken = [value for value in (self.before, during) if value is not None]
        if taken and max(taken) > TAKEN:
            why.append(f"others took {max(taken):.1f} of {self.cores} processors")
        spread = [f(copies) / min(copies) for f in (statistics.median, max)] if copies else []
        if spread and spread[0] > SLOWER:
            why.append(f"copies took {spread[0]:.1f} times as long as the fastest")
        return {
            "idle": not why if taken else None,
            "before": self.before,
            "during": during,
            "load": self.load,
            "copies": dict(zip(("median", "slowest"), spread, strict=False)),
            "why": "; ".join(why),
        }


def _processors() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _now() -> tuple[float, float, float]:
    """The time, and seconds of work so far: of the processors, and of the benchmark's processes."""
    if not _STAT.exists():
        return time.monotonic(), 0.0, 0.0
    ours, busy = _processors(), 0
    for line in _STAT.read_text().splitlines():
        name, *counts = line.split()
        if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in ours:
            user, low, system, _, _, *interrupts_and_stolen = map(int, counts[:8])
            busy += user + low + system + sum(interrupts_and_stolen)
    return time.monotonic(), busy / _TICK, _own()


def _own() -> float:
    """Seconds of this process and all that come from it, also of those that have ended."""
    parents, spent = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # just ended
            continue
        parents[int(entry.name)] = int(fields[1])
        spent[int(entry.name)] = sum(map(int, fields[11:15])) / _TICK
    family = {os.getpid()}
    while new := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= new
    return sum(spent.get(pid, 0.0) for pid in family)


def _taken(since: tuple[float, float, float]) -> float | None:
    """Processors that others took, on average; None where the system does not say."""
    if not _STAT.exists():
        return None
    began, busy, own = since
    now, busy_now, own_now = _now()
    return max(0.0, (busy_now - busy - (own_now - own)) / max(now - began, 1 / _TICK))
