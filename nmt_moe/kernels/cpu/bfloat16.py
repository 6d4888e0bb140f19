"""How this machine multiplies bfloat16, and whether that is faster than float32.

Some machines announce instructions that end a process: another process tries them first.
"""

import functools
import subprocess
import sys

from nmt_moe.kernels.cpu.extension import INTEL, library

AVX512_BF16, AMX = 2, 3
"""As in ``product.h``."""
_TRIAL = "import ctypes, sys; sys.exit(ctypes.CDLL(sys.argv[1]).products_trial(int(sys.argv[2])))"


@functools.cache
def instructions() -> int:
    """The best that ``product.c`` can use, which it does from now on; 0: none."""
    best = 0 if library is None else library.products_instructions()
    for level in range(best, AVX512_BF16 - 1, -1):
        if _survives("-S", "-c", _TRIAL, library._name, f"{level}"):  # type: ignore[union-attr]
            library.products_use(level)  # type: ignore[union-attr]
            return level
    return 0


def in_c() -> bool:
    """Whether ``product.c`` can."""
    return instructions() > 0


def pays() -> bool:
    """Whether it is faster than float32: Intel's AVX-512 has half the speed, its AMX many times."""
    return instructions() == AMX or (in_c() and not INTEL)


def _survives(*arguments: str) -> bool:
    return subprocess.run([sys.executable, *arguments], capture_output=True).returncode == 0
