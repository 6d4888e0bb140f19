"""The two passes of a factored Adam update of experts: ``factored.c``."""

import torch
from torch import Tensor

from nmt_moe.kernels.cpu.extension import library


def usable(*tensors: Tensor) -> bool:
    """Whether these can be computed here."""
    return library is not None and all(
        x.device.type == "cpu" and x.dtype == torch.float32 and x.is_contiguous() for x in tensors
    )


def mean_squares(grad_ERC: Tensor) -> tuple[Tensor, Tensor]:
    """The means of the squares over the columns, ``[E, R]``, and over the rows, ``[E, C]``."""
    experts, rows, columns = grad_ERC.shape
    row_ER, column_EC = grad_ERC.new_empty(experts, rows), grad_ERC.new_empty(experts, columns)
    pointers = (x.data_ptr() for x in (grad_ERC, row_ER, column_EC))
    library.factored_squares(  # type: ignore[union-attr]
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
    library.factored_update(  # type: ignore[union-attr]
        *pointers, step, eps, *param_ERC.shape, torch.get_num_threads()
    )
