"""The most memory that a process had at once, measured in a process of its own. Linux."""

import ctypes
import gc
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


def forget() -> int:
    """Forget the most that this process had; bytes that it has now."""
    gc.collect()
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)  # what is free goes back to the system
    Path("/proc/self/clear_refs").write_text("5")
    return most()


def most() -> int:
    """Bytes that this process had at most since :func:`forget`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def asked(only: str) -> int:
    """What this command prints last with the further option ``--only ONLY``, a number."""
    again = [sys.executable, "-W", "ignore", *sys.argv, "--only", only]
    found = subprocess.run(again, check=True, stdout=subprocess.PIPE, text=True)
    return int(json.loads(found.stdout.splitlines()[-1]))
