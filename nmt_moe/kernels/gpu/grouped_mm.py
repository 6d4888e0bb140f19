"""torch's grouped products on a GPU. They need no Triton."""

import torch
import torch.nn.functional as F
from torch import Tensor

MOST = 1024  # groups of a product: torch refuses more
_grouped_mm = getattr(F, "grouped_mm", getattr(torch, "_grouped_mm", None))  # public in 2.10
available = _grouped_mm is not None


def runs_on(device: str) -> bool:
    """Whether this torch has the product for a kind of device: 2.8 has none for CPUs."""
    x_AK, w_EKN = (torch.zeros(s, device=device, dtype=torch.bfloat16) for s in ((8, 8), (1, 8, 8)))
    try:
        rows_times_weights(x_AK, w_EKN, torch.tensor([8], device=device, dtype=torch.int32))
    except (NotImplementedError, TypeError):
        return False
    return True


def rows_times_weights(x_AK: Tensor, w_EKN: Tensor, ends_E: Tensor) -> Tensor:
    """``[A, N]``: each row times the matrix of its group.

    Args:
        x_AK: sorted by group.
        w_EKN: a matrix for each group.
        ends_E: int32: where the rows of each group end, at most ``MOST``.
    """
    y_AN: Tensor = _grouped_mm(x_AK, w_EKN, offs=ends_E)  # type: ignore[misc]
    return y_AN


def weight_gradients(x_AK: Tensor, dy_AN: Tensor, ends_E: Tensor) -> Tensor:
    """``[E, K, N]``: for each group the sum over its rows of ``x`` times ``dy``."""
    dw_EKN: Tensor = _grouped_mm(x_AK.t(), dy_AN, offs=ends_E)  # type: ignore[misc]
    return dw_EKN
