"""A factored update of experts on CPUs, in float32: ``factored.c``.

It is compiled when the package is installed. Where that was not possible, torch does its work.
"""

import ctypes
import importlib.util

import torch
from torch import Tensor


def _load() -> ctypes.CDLL | None:
    found = importlib.util.find_spec("nmt_moe.optim.kernel._factored")
    if not found or not found.origin:
        return None
    library = ctypes.CDLL(found.origin)
    pointer, size, number = ctypes.c_void_p, ctypes.c_long, ctypes.c_float
    library.factored_squares.argtypes = [pointer] * 3 + [size] * 4
    library.factored_update.argtypes = [pointer] * 5 + [number] * 2 + [size] * 4
    return library


_library = _load()


def usable(*tensors: Tensor) -> bool:
    """Whether these can be computed here."""
    return _library is not None and all(
        x.device.type == "cpu" and x.dtype == torch.float32 and x.is_contiguous() for x in tensors
    )


def mean_squares(grad_ERC: Tensor) -> tuple[Tensor, Tensor]:
    """The means of the squares over the columns, ``[E, R]``, and over the rows, ``[E, C]``."""
    experts, rows, columns = grad_ERC.shape
    row_ER, column_EC = grad_ERC.new_empty(experts, rows), grad_ERC.new_empty(experts, columns)
    pointers = (x.data_ptr() for x in (grad_ERC, row_ER, column_EC))
    _library.factored_squares(  # type: ignore[union-attr]
        *pointers, *grad_ERC.shape, torch.get_num_threads()
    )
    return row_ER.div_(columns), column_EC.div_(rows)


def update_(
    param_ERC: Tensor,
    grad_ERC: Tensor,
    row_ER: Tensor,
    column_EC: Tensor,
    keep_E: Tensor,
    step: float,
    eps: float,
) -> None:
    """``param = keep * param - step * grad / (row x column + eps)``, in place."""
    pointers = [x.data_ptr() for x in (param_ERC, grad_ERC, row_ER, column_EC, keep_E)]
    _library.factored_update(  # type: ignore[union-attr]
        *pointers, step, eps, *param_ERC.shape, torch.get_num_threads()
    )
