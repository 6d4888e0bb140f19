"""What a running command holds: memory, open files and processes, as Linux tells."""

import os
from collections.abc import Callable
from pathlib import Path


def memory(pid: int) -> float:
    """MiB of a process that are no part of a file."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"{pid} has ended")


def open_files(pid: int) -> int:
    """How many files, pipes and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def of_session(leader: int) -> list[int]:
    """The running processes of a session, the leader among them."""
    return _running(lambda group, session: session == leader)


def of_group(leader: int) -> list[int]:
    """The running processes of a group."""
    return _running(lambda group, session: group == leader)


def _running(wanted: Callable[[int, int], bool]) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:  # just ended
                continue
            state, _, group, session = stat.rpartition(")")[2].split()[:4]
            if wanted(int(group), int(session)) and state not in "ZX":
                found.append(int(entry))
    return found


def growth(points: list[tuple[float, float]]) -> float:
    """How much a straight line through ``(x, y)`` rises from the first ``x`` to the last."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum(
        (x - mean_x) ** 2 for x, _ in points
    )
    return slope * (points[-1][0] - points[0][0])
