"""All experts in one call: ``experts.c``."""

import ctypes

import torch
from torch import Tensor

from nmt_moe.kernels.cpu.extension import AVX512, gemm, library

_ALIGNED = 16  # numbers
# Rows of a group; torch's library is faster with more, where it is found.
_FEW_FORWARD, _FEW_BACKWARD = (56, 112) if AVX512 else (64, 64)
Groups = list[tuple[int, int, int]]
"""Of each group of rows: the expert, the first row, the number of rows."""


class _Task(ctypes.Structure):
    """As in ``experts.c``."""

    _fields_ = [
        ("groups", ctypes.c_void_p),
        *((name, ctypes.c_long) for name in ("count", "most_rows", "few_rows")),
        *((name, ctypes.c_long) for name in ("dim", "hidden_dim", "threads")),
        *((name, ctypes.c_void_p) for name in ("gemm", "x", "w_in", "w_out", "hidden", "y")),
        *((name, ctypes.c_void_p) for name in ("dy", "dx", "dw_in", "dw_out")),
    ]


def groups_for(counts: list[int], x_AD: Tensor, *weights: Tensor) -> Groups:
    """The groups that are best computed here; the largest first, so that threads end together.

    Args:
        counts: rows of each expert.
        x_AD: the rows.
        weights: the two weights of the experts.
    """
    if (
        library is None
        or x_AD.device.type != "cpu"
        or any(x.dtype != torch.float32 or not x.is_contiguous() for x in (x_AD, *weights))
        or any(size % _ALIGNED for size in weights[0].shape[1:])
    ):
        return []
    # One thread for each expert, rather than all for one product of many rows after the other.
    spread = gemm and torch.get_num_threads() <= sum(count > _FEW_BACKWARD for count in counts)
    groups, first = [], 0
    for expert, count in enumerate(counts):
        if count and (spread or count <= _FEW_BACKWARD):
            groups.append((expert, first, count))
        first += count
    return sorted(groups, key=lambda group: -group[2])


def forward(
    groups: Groups,
    x_AD: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    hidden_AH: Tensor | None,
    y_AD: Tensor,
) -> None:
    """Write ``hidden_AH``, if it is there, and ``y_AD`` of the groups' rows."""
    _run(
        "experts_forward", _FEW_FORWARD, groups, w_in, x=x_AD, w_out=w_out, hidden=hidden_AH, y=y_AD
    )


def backward(
    groups: Groups,
    x_AD: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    hidden_AH: Tensor | None,
    dy_AD: Tensor,
    dx_AD: Tensor,
    dw_in: Tensor,
    dw_out: Tensor,
) -> None:
    """Write ``dx_AD`` of the groups' rows, and the gradients of their experts' weights."""
    inputs = {"x": x_AD, "w_out": w_out, "hidden": hidden_AH, "dy": dy_AD}
    _run(
        "experts_backward",
        _FEW_BACKWARD,
        groups,
        w_in,
        **inputs,
        dx=dx_AD,
        dw_in=dw_in,
        dw_out=dw_out,
    )


def _run(name: str, few: int, groups: Groups, w_in: Tensor, **tensors: Tensor | None) -> None:
    if not groups:
        return
    task = _Task(gemm=gemm, threads=torch.get_num_threads())
    task.few_rows = few if gemm else _FEW_BACKWARD
    numbers = (ctypes.c_long * (3 * len(groups)))(*(n for group in groups for n in group))
    task.groups = ctypes.addressof(numbers)
    task.count, task.most_rows = len(groups), groups[0][2]
    _, task.dim, task.hidden_dim = w_in.shape
    for key, tensor in {"w_in": w_in, **tensors}.items():
        setattr(task, key, None if tensor is None else tensor.data_ptr())
    if getattr(library, name)(ctypes.byref(task)):
        raise MemoryError("no memory for the experts' products")
