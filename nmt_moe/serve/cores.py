"""How many processes and threads a model has where nobody says it."""

import os
from pathlib import Path

from nmt_moe.corpus.workers import all_threads
from nmt_moe.trained.folder import MODEL

_SMALL, _MOST = 256 * 2**20, 4
"""Bytes of a small model, and the most processes that it has."""


def processes_of(path: str, device: str | None) -> int:
    """Processes of a model: of a small one several, where a search cannot use several threads."""
    given = Path(path)
    file = given / MODEL if given.is_dir() else given
    small = file.is_file() and file.stat().st_size <= _SMALL
    gpu = device not in (None, "cpu") or (device is None and Path("/dev/nvidiactl").exists())
    return min(all_threads(), _MOST) if small and not gpu else 1


def threads_of(processes: int) -> int:
    """Of each process: its share of the cores, but one, which answers requests."""
    named = "OMP_NUM_THREADS" in os.environ
    return max(1, all_threads() // processes - (not named))
