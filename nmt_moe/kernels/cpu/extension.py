"""The extension in C, and the matrix product of the library that torch uses."""

import ctypes
import importlib.util
from pathlib import Path

import torch


def _load() -> ctypes.CDLL | None:
    found = importlib.util.find_spec("nmt_moe.kernels.cpu._kernels")
    if not found or not found.origin:
        return None
    loaded = ctypes.CDLL(found.origin)
    pointer, size, number = ctypes.c_void_p, ctypes.c_long, ctypes.c_float
    loaded.product.argtypes = [pointer, size]
    loaded.factored_squares.argtypes = [pointer] * 3 + [size] * 4
    loaded.factored_update.argtypes = [pointer] * 5 + [number] * 2 + [size] * 4
    loaded.best_of_rows.argtypes = [pointer] * 3 + [size] * 3 + [pointer] * 2 + [size] * 2
    return loaded


def _blas() -> int | None:
    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        return ctypes.cast(ctypes.CDLL(str(path)).sgemm_, ctypes.c_void_p).value
    except (OSError, AttributeError):
        return None


def cpu_info(name: str) -> str:
    """What Linux says of the first processor, such as its ``vendor_id``; elsewhere nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    found = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in found if key.strip() == name), "")


library = _load()
"""None where the extension was not compiled."""
gemm = _blas()
"""The address of the matrix product that torch itself uses; None where it is not found."""
INTEL = cpu_info("vendor_id") == "GenuineIntel"
AVX512 = library is not None and library.experts_instructions(2) == 2
