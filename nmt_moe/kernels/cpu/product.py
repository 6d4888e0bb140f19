"""Matrix products by ``product.c`` where it is faster than torch's library, or by torch.

On AMD's processors with AVX-512 the library that torch calls uses half of each register, and
``product.c`` has twice its speed. On Intel's torch's products stay, but for bfloat16 by AMX: torch
compiles code for each new number of rows, and experts have another one in each batch.
``NMT_MOE_PRODUCTS`` overrules this table: ``own`` or ``torch``.
"""

import ctypes
import functools
import os

import torch
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.kernels.cpu import bfloat16
from nmt_moe.kernels.cpu.extension import INTEL, library

FLOAT32, BFLOAT16 = range(2)
Precision = int | None
"""Of the factors of ``product.c``; sums are float32. None: torch's products."""
TYPES = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16}
"""Of numbers in memory, as in ``product.h``."""
_SMALL = 2**20  # multiply-adds; torch is called faster for fewer


class Operand(ctypes.Structure):
    """As in ``product.h``."""

    _fields_ = [
        ("at", ctypes.c_void_p),
        *((name, ctypes.c_long) for name in ("line", "step")),
        ("type", ctypes.c_int),
    ]


class _Product(ctypes.Structure):
    _fields_ = [
        *((name, Operand) for name in ("a", "b")),
        *((name, ctypes.c_long) for name in ("m", "n", "k")),
        ("add", ctypes.c_void_p),
        ("add_row", ctypes.c_long),
        ("c", ctypes.c_void_p),
        ("c_row", ctypes.c_long),
        ("precision", ctypes.c_int),
    ]


def precision(*tensors: Tensor | None) -> Precision:
    """That of products of these tensors: bfloat16 if one is, or autocast asks for it."""
    found = [x for x in tensors if x is not None]
    if torch.compiler.is_compiling():
        return None  # of the operators, which call C, a compiler sees the outside only
    if any(x.device.type != "cpu" or x.dtype not in TYPES for x in found):
        return None
    wanted = FLOAT32
    if torch.is_autocast_enabled("cpu"):
        if torch.get_autocast_dtype("cpu") != torch.bfloat16:
            return None
        wanted = BFLOAT16
    if any(x.dtype == torch.bfloat16 for x in found):
        wanted = BFLOAT16
    return wanted if usable(wanted) else None


@functools.cache
def usable(precision: int = FLOAT32) -> bool:
    """Whether products of this precision are ``product.c``'s on this machine.

    Raises:
        UserError: ``NMT_MOE_PRODUCTS`` is neither ``own`` nor ``torch``.
    """
    wanted = os.environ.get("NMT_MOE_PRODUCTS", "")
    if wanted not in ("", "own", "torch"):
        raise UserError(f"NMT_MOE_PRODUCTS={wanted}: it can be own or torch")
    if precision == BFLOAT16:
        can, fast = bfloat16.in_c(), bfloat16.pays()
    else:
        can, fast = library is not None and library.products_instructions() > 0, not INTEL
    return can and (wanted == "own" or (not wanted and fast))


def operand(x: Tensor, lines: int = 0) -> Operand:
    """A matrix of which ``lines`` is the dimension that the product keeps."""
    return Operand(x.data_ptr(), x.stride(lines), x.stride(1 - lines), TYPES[x.dtype])


def mm(
    a_MK: Tensor,
    b_KN: Tensor,
    how: Precision,
    add: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """``a b``, and ``add`` to it, without a gradient.

    Args:
        a_MK: by rows or by columns.
        b_KN: likewise.
        how: from :func:`precision`.
        add: None, a row ``[N]``, or ``[M, N]``, which may be ``out``.
        out: where the result ``[M, N]`` goes, by default float32 unless torch multiplies.
    """
    m, k = a_MK.shape
    n = b_KN.shape[1]
    fits = out is None or out.stride(1) == 1
    if how is None or not pays(m, n, k) or not (fits and _plain(a_MK) and _plain(b_KN)):
        return _by_torch(a_MK, b_KN, add, out)
    if out is not None and out.dtype != torch.float32:
        return out.copy_(mm(a_MK, b_KN, how, add))
    if out is None:
        out = torch.empty(m, n)
    if add is not None:
        add = add.float().expand(m, n)
    task = _Product(operand(a_MK), operand(b_KN, 1), m, n, k, precision=how)
    task.c, task.c_row = out.data_ptr(), out.stride(0)
    if add is not None:
        task.add, task.add_row = add.data_ptr(), add.stride(0)
    if library.product(ctypes.byref(task), torch.get_num_threads()):  # type: ignore[union-attr]
        raise MemoryError("no memory for a matrix product")
    return out


def pays(m: int, n: int, k: int) -> bool:
    """Whether a product of such sizes is worth its call."""
    return m * n * k >= _SMALL


def _plain(x: Tensor) -> bool:
    return 1 in x.stride()


def _by_torch(a_MK: Tensor, b_KN: Tensor, add: Tensor | None, out: Tensor | None) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        dtype = torch.promote_types(a_MK.dtype, b_KN.dtype)
        a_MK, b_KN = a_MK.to(dtype), b_KN.to(dtype)
        if out is not None and out.dtype != dtype:
            found = a_MK @ b_KN
            return out.copy_(found if add is None else found + add)
        if add is None:
            return torch.mm(a_MK, b_KN, out=out)
        return torch.addmm(add.to(dtype), a_MK, b_KN, out=out)
