"""Products of few rows with one matrix, as a search needs them: ``experts.c``.

They are no operators of torch: the dispatcher would add 2 to 8 percent to an update of a recurrent
layer of 128 to 256 cells, where each step of time is two such products.
"""

import ctypes

import torch
from torch import Tensor

from nmt_moe.kernels.cpu.extension import library

_FEW = 128  # rows; torch's library is faster with more,
_FEW_FOR_SMALL, _SMALL = 96, 2**20  # or with a matrix of so many numbers, which its cache holds,
_LARGE = 2**16  # or of fewer than so many, as it is called faster
_ALIGNED = 16  # numbers


class _Linear(ctypes.Structure):
    """As in ``experts.c``."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("rows", "dim_in", "dim_out")),
        *((name, ctypes.c_long) for name in ("x_row", "y_row", "threads")),
        *((name, ctypes.c_void_p) for name in ("x", "w", "add", "y")),
    ]


def linear(
    x_MK: Tensor, w_NK: Tensor, add_MN: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """``x w^T``, and ``add`` to it, without a gradient; fast where there are few rows.

    Args:
        x_MK: the rows.
        w_NK: the matrix.
        add_MN: None, or as large and laid out as the result, which it may be.
        out: where the result ``[M, N]`` goes.
    """
    if out is None:
        out = x_MK.new_empty(len(x_MK), len(w_NK))
    outputs = [out] if add_MN is None else [out, add_MN]
    shape = (len(x_MK), len(w_NK))
    alike = all(
        y.device == x_MK.device
        and y.dtype == x_MK.dtype
        and y.shape == shape
        and y.stride() == (out.stride(0), 1)
        for y in outputs
    )
    if not (alike and few_rows(x_MK, w_NK)):
        if add_MN is None:
            return torch.mm(x_MK, w_NK.t(), out=out)
        return torch.addmm(add_MN, x_MK, w_NK.t(), out=out)
    task = _Linear(len(x_MK), *reversed(w_NK.shape), x_MK.stride(0), out.stride(0))
    task.threads = torch.get_num_threads()
    for name, tensor in {"x": x_MK, "w": w_NK, "add": add_MN, "y": out}.items():
        setattr(task, name, None if tensor is None else tensor.data_ptr())
    if library.few_rows_linear(ctypes.byref(task)):  # type: ignore[union-attr]
        raise MemoryError("no memory for a matrix product")
    return out


def few_rows(x_MK: Tensor, w_NK: Tensor) -> bool:
    """Whether :func:`linear` is computed here, and not by torch."""
    return (
        library is not None
        and 1 < len(x_MK) <= (_FEW_FOR_SMALL if w_NK.numel() <= _SMALL else _FEW)
        and x_MK.device.type == w_NK.device.type == "cpu"
        and x_MK.dtype == w_NK.dtype == torch.float32
        and x_MK.shape[1] == w_NK.shape[1]  # or torch says what is wrong; C would read on
        and x_MK.stride(1) == 1
        and w_NK.is_contiguous()
        and w_NK.numel() >= _LARGE
        and w_NK.shape[1] % _ALIGNED == 0
    )
