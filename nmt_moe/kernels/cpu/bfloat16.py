"""Whether this machine multiplies bfloat16 faster than float32.

Some machines announce instructions that end a process: another process tries them first.
"""

import functools
import subprocess
import sys

from nmt_moe.kernels.cpu.extension import cpu_info, library

_OWN = "import ctypes, sys; sys.exit(ctypes.CDLL(sys.argv[1]).products_trial())"
_TORCH = "import torch; x = torch.ones(64, 64).bfloat16(); torch.nn.functional.linear(x, x)"


@functools.cache
def in_c() -> bool:
    """Whether ``product.c`` can."""
    return (
        library is not None
        and library.products_instructions() == 2
        and _survives("-S", "-c", _OWN, library._name)
    )


@functools.cache
def pays() -> bool:
    """Whether ``product.c`` or torch can, by instructions of the processor's own."""
    flags = cpu_info("flags").split()
    known = "amx_bf16" in flags or "avx512_bf16" in flags
    return in_c() or (known and _survives("-c", _TORCH))


def _survives(*arguments: str) -> bool:
    return subprocess.run([sys.executable, *arguments], capture_output=True).returncode == 0
