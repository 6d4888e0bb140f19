"""All experts in one call: ``experts.c``."""

import ctypes

import torch
from torch import Tensor

from nmt_moe.kernels.cpu.extension import AVX512, gemm, library
from nmt_moe.kernels.cpu.product import BFLOAT16, FLOAT32, TYPES, Precision

_ALIGNED = 16  # numbers
# Rows of a group; torch's library is faster with more, where it is found,
_FEW_FORWARD, _FEW_BACKWARD = (56, 112) if AVX512 else (64, 64)
_FEW_OWN = {FLOAT32: 128, BFLOAT16: 48}  # and product.c, which first packs the weights.
Groups = list[tuple[int, int, int]]
"""Of each group of rows: the expert, the first row, the number of rows."""


class _Task(ctypes.Structure):
    """As in ``experts.c``."""

    _fields_ = [
        ("groups", ctypes.c_void_p),
        *((name, ctypes.c_long) for name in ("count", "most_rows", "few_rows")),
        *((name, ctypes.c_long) for name in ("dim", "hidden_dim", "threads")),
        ("gemm", ctypes.c_void_p),
        *((name, ctypes.c_int) for name in ("precision", "weights")),
        *((name, ctypes.c_void_p) for name in ("x", "w_in", "w_out", "hidden", "y")),
        *((name, ctypes.c_void_p) for name in ("dy", "dx", "dw_in", "dw_out", "stays")),
        ("scale", ctypes.c_float),
    ]


def groups_for(counts: list[int], x_AD: Tensor, *weights: Tensor, how: Precision = None) -> Groups:
    """The groups that are best computed here; the largest first, so that threads end together.

    Args:
        counts: rows of each expert.
        x_AD: the rows.
        weights: the two weights of the experts.
        how: the precision of ``product.c``; None: torch's library.
    """
    if (
        library is None
        or x_AD.device.type != "cpu"
        or x_AD.dtype != torch.float32
        or not all(x.is_contiguous() for x in (x_AD, *weights))
        or (how is None and not _by_tiles(*weights))
    ):
        return []
    few = _FEW_BACKWARD if how is None else _few_own(how, *weights)
    # One thread for each expert, rather than all for one product of many rows after the other.
    many = sum(count > few for count in counts)
    spread = (gemm or how is not None) and torch.get_num_threads() <= many
    groups, first = [], 0
    for expert, count in enumerate(counts):
        if count and (spread or count <= few):
            groups.append((expert, first, count))
        first += count
    return sorted(groups, key=lambda group: -group[2])


def _by_tiles(*weights: Tensor) -> bool:
    """Whether ``tiles.h`` can do with such weights."""
    whole = not any(size % _ALIGNED for size in weights[0].shape[1:])
    return whole and all(x.dtype == torch.float32 for x in weights)


def _few_own(how: int, *weights: Tensor) -> int:
    """Rows up to which ``tiles.h`` is faster than ``product.c``, though it is float32."""
    return _FEW_OWN[how] if _by_tiles(*weights) else 0


def forward(
    groups: Groups,
    x_AD: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    hidden_AH: Tensor | None,
    y_AD: Tensor,
    how: Precision = None,
    stays_AH: Tensor | None = None,
    scale: float = 1.0,
) -> None:
    """Write ``hidden_AH``, if it is there, and ``y_AD`` of the groups' rows.

    ``stays_AH``, of bool, drops hidden activations, and ``scale`` multiplies the others.
    """
    tensors = {"x": x_AD, "w_out": w_out, "hidden": hidden_AH, "y": y_AD, "stays": stays_AH}
    _run("experts_forward", _FEW_FORWARD, groups, how, scale, w_in, **tensors)


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
    how: Precision = None,
    stays_AH: Tensor | None = None,
    scale: float = 1.0,
) -> None:
    """Write ``dx_AD`` of the groups' rows, and the gradients of their experts' weights; dropout as
    in :func:`forward`."""
    inputs = {"x": x_AD, "w_out": w_out, "hidden": hidden_AH, "dy": dy_AD, "stays": stays_AH}
    _run(
        "experts_backward",
        _FEW_BACKWARD,
        groups,
        how,
        scale,
        w_in,
        **inputs,
        dx=dx_AD,
        dw_in=dw_in,
        dw_out=dw_out,
    )


def _run(
    name: str,
    few: int,
    groups: Groups,
    how: Precision,
    scale: float,
    w_in: Tensor,
    **tensors: Tensor | None,
) -> None:
    if not groups:
        return
    task = _Task(gemm=gemm if how is None else None, threads=torch.get_num_threads(), scale=scale)
    if how is None:
        task.few_rows = few if gemm else _FEW_BACKWARD
    else:
        task.few_rows = _few_own(how, w_in)
        task.precision, task.weights = how, TYPES[w_in.dtype]
    numbers = (ctypes.c_long * (3 * len(groups)))(*(n for group in groups for n in group))
    task.groups = ctypes.addressof(numbers)
    task.count, task.most_rows = len(groups), groups[0][2]
    _, task.dim, task.hidden_dim = w_in.shape
    for key, tensor in {"w_in": w_in, **tensors}.items():
        setattr(task, key, None if tensor is None else tensor.data_ptr())
    if getattr(library, name)(ctypes.byref(task)):
        raise MemoryError("no memory for the experts' products")
