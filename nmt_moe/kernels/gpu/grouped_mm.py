"""torch's grouped products on a GPU, of any number of groups. They need no Triton."""

from itertools import pairwise

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
        ends_E: int32: where the rows of each group end. With more than ``MOST`` groups the host
            waits for some of them.
    """
    parts = [
        _grouped_mm(x_AK[rows], w_EKN[groups], offs=ends)  # type: ignore[misc]
        for groups, rows, ends in _parts(ends_E, len(x_AK))
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def weight_gradients(x_AK: Tensor, dy_AN: Tensor, ends_E: Tensor) -> Tensor:
    """``[E, K, N]``: for each group the sum over its rows of ``x`` times ``dy``."""
    parts = [
        _grouped_mm(x_AK[rows].t(), dy_AN[rows], offs=ends)  # type: ignore[misc]
        for _, rows, ends in _parts(ends_E, len(x_AK))
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _parts(ends_E: Tensor, rows: int) -> list[tuple[slice, slice, Tensor]]:
    """Groups, their rows, and where these end counted from the first: ``MOST`` groups each."""
    if len(ends_E) <= MOST:
        return [(slice(None), slice(None), ends_E)]
    starts = [0, *ends_E[MOST - 1 : -1 : MOST].tolist(), rows]
    return [
        (
            slice(i * MOST, (i + 1) * MOST),
            slice(start, stop),
            ends_E[i * MOST : (i + 1) * MOST] - start,
        )
        for i, (start, stop) in enumerate(pairwise(starts))
    ]
