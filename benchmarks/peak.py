"""The processor's own peak: multiply-adds in registers, and memory, without any library.

peak.c is compiled for this machine as a benchmark starts, and runs in as many threads as the
benchmark has. Without a C compiler (``cc``, or what ``CC`` names) nothing is known, and one line
says so. In int8 the peak is that of AVX-512, which products by AMX can exceed.
"""

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import torch

from nmt_moe.kernels.cpu import bfloat16

SOURCE = Path(__file__).with_name("peak.c")
DTYPES = ("float32", "bfloat16", "int8")
SECONDS = 0.005  # of a loop: on a busy machine some of them are not interrupted
TRIES, MEMORY_TRIES = 25, 8  # of a turn
SMALLEST = 2**27  # bytes to read or copy
_ROUNDS = 100_000  # of a first try
Clock = Callable[[Callable[[], object]], float]
"""Calls something, and says how many seconds that took."""


@cache
def compiled() -> ctypes.CDLL | None:
    """peak.c, compiled for this machine; None, and a line that says why, where that fails."""
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "peak.so")
        command = [os.environ.get("CC", "cc"), "-O3", "-march=native", "-fPIC", "-shared"]
        if bfloat16.instructions() == bfloat16.AMX:  # tried: a process may end by it
            command.append("-DUSE_AMX")
        try:
            subprocess.run([*command, SOURCE, "-o", built], check=True, capture_output=True)
            found = ctypes.CDLL(str(built))
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or str(error).encode()
            reason = said.decode(errors="replace").strip().partition("\n")[0]
            print(f"peaks are unknown, as peak.c cannot be compiled: {reason}", file=sys.stderr)
            return None
    for dtype in DTYPES:
        getattr(found, f"fma_{dtype}").restype = ctypes.c_double
        getattr(found, f"fma_{dtype}").argtypes = [ctypes.c_long]
        getattr(found, f"in_{dtype}").restype = ctypes.c_long
    found.read_memory.restype = ctypes.c_double
    found.read_memory.argtypes = [ctypes.c_void_p, ctypes.c_long]
    found.copy_memory.restype = None
    found.copy_memory.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long]
    return found


def multiplies(dtype: str) -> bool:
    """Whether the processor has an instruction for it; no where nothing is known."""
    found = compiled() if dtype in DTYPES else None
    return found is not None and getattr(found, f"in_{dtype}")() > 0


def at_once(calls: list[Callable[[], object]]) -> None:
    """Run them in a thread each; ctypes lets go of Python's lock."""
    if len(calls) == 1:
        calls[0]()
        return
    with ThreadPoolExecutor(len(calls)) as pool:
        for done in [pool.submit(call) for call in calls]:
            done.result()


def timed(call: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


class Bound:
    """What a machine can do at most: operations or bytes a second, by the fastest of many tries."""

    def __init__(
        self, call: Callable[[], object], amount: float, tries: int, clock: Clock = timed
    ) -> None:
        self.call, self.amount, self.tries, self.clock = call, amount, tries, clock
        self.seconds: list[float] = []

    def __call__(self) -> None:
        """Some tries: between those of others all of them see the same minutes."""
        for _ in range(self.tries):
            self.seconds.append(self.clock(self.call))

    @property
    def rate(self) -> float:
        """Operations or bytes a second."""
        return self.amount / min(self.seconds)


def multiply_adds(dtype: str, threads: int, tries: int = TRIES) -> Bound | None:
    """A loop in all threads; a multiply-add is two operations.

    Args:
        dtype: ``float32``, ``bfloat16`` or ``int8``; of the last two the sums are wider.
        threads: how many loops run at once.
        tries: of each turn.

    Returns:
        None where there is no compiler, or the processor has no instruction for it.
    """
    if not multiplies(dtype):
        return None
    found = compiled()
    loop = getattr(found, f"fma_{dtype}")
    rounds = _ROUNDS
    while (seconds := timed(partial(loop, rounds))) < SECONDS / 2:
        rounds *= 2
    rounds = int(rounds * SECONDS / seconds)
    operations = float(getattr(found, f"in_{dtype}")()) * rounds * threads
    return Bound(lambda: at_once([partial(loop, rounds)] * threads), operations, tries)


def memory(threads: int, tries: int = MEMORY_TRIES, smallest: int = SMALLEST) -> dict[str, Bound]:
    """``read`` and ``copy`` of memory beyond the caches in all threads; empty without a compiler.

    A copied byte counts twice: it is read and written.
    """
    found = compiled()
    if found is None:
        return {}
    size = max(smallest, 4 * _largest_cache() if smallest == SMALLEST else 0) // threads
    # Ones, not empty: pages that were never written are all the same one.
    x, y = torch.ones(2, threads, size, dtype=torch.uint8)
    parts = [(a.data_ptr(), b.data_ptr()) for a, b in zip(x, y, strict=True)]

    def read() -> None:
        at_once([lambda a=a: found.read_memory(a, size) for a, _ in parts])

    def copy(kept: object = (x, y)) -> None:
        at_once([lambda a=a, b=b: found.copy_memory(b, a, size) for a, b in parts])

    return {
        "read": Bound(read, size * threads, tries),
        "copy": Bound(copy, 2 * size * threads, tries),
    }


def _largest_cache() -> int:
    """Bytes; 0 where the system does not say."""
    sizes = [
        int(path.read_text().strip().removesuffix("K")) * 1024
        for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
        if path.read_text().strip().endswith("K")
    ]
    return max(sizes, default=0)
