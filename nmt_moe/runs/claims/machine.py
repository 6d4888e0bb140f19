"""What a training runs on, and how much memory it takes."""

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch


def machine() -> dict[str, str | int]:
    """The processor or GPU, the versions of what computes, and the commit of this checkout."""
    gpu = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if gpu else processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "fairseq": version("fairseq-fixed"),
        "commit": commit(),
    }


def bandwidth() -> float:
    """GB/s that all threads read and write together: the fastest of some copies of 256 MiB."""
    one, other = torch.ones(2**26), torch.zeros(2**26)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        other.copy_(one)
        seconds.append(time.perf_counter() - start)
    return 2 * one.nbytes / min(seconds) / 1e9


def peak(command: Sequence[str]) -> tuple[int, int]:
    """Run a command; its exit code, and the MiB that the largest of its processes had at most."""
    reading, writing = os.pipe()
    with open(reading) as answer:
        was = signal.getsignal(signal.SIGTERM)
        try:
            # The system counts for a child what its parent has, too: of a small one little.
            small = [sys.executable, "-I", "-S", "-c", _MEASURE, str(writing)]
            with subprocess.Popen([*small, *command], pass_fds=[writing]) as process:
                signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        finally:
            signal.signal(signal.SIGTERM, was)
            os.close(writing)
        code, size = map(int, answer.read().split())
    return code, size // (2**20 if platform.system() == "Darwin" else 2**10)


_MEASURE = """
import resource, signal, subprocess, sys
process = subprocess.Popen(sys.argv[2:], close_fds=True)
signal.signal(signal.SIGTERM, lambda *_: process.terminate())
code = process.wait()
with open(int(sys.argv[1]), "w") as answer:
    print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=answer)
"""


def commit() -> str:
    """The commit of this checkout, with a plus if files differ from it; empty without git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()


def processor() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "")
