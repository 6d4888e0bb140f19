"""All experts in one call on CPUs, and products of few rows, in float32: ``experts.c``.

It is compiled when the package is installed. Where that was not possible, torch does its work.
"""

import ctypes
import importlib.util
from pathlib import Path

import torch
from torch import Tensor

_FEW_FOR_ONE = 128  # of a product with one matrix; the library is faster with more,
_FEW_FOR_SMALL, _SMALL = 96, 2**20  # or with a matrix of so many numbers, which its cache holds,
_LARGE = 2**16  # or of fewer than so many, as it is called faster
_ALIGNED = 16  # numbers
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


class _Linear(ctypes.Structure):
    """As in ``experts.c``."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("rows", "dim_in", "dim_out")),
        *((name, ctypes.c_long) for name in ("x_row", "y_row", "threads")),
        *((name, ctypes.c_void_p) for name in ("x", "w", "add", "y")),
    ]


def _load() -> ctypes.CDLL | None:
    found = importlib.util.find_spec("nmt_moe.moe.kernel._experts")
    return ctypes.CDLL(found.origin) if found and found.origin else None


def _blas() -> int | None:
    """The address of the matrix product that torch itself uses, where it is found."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        return ctypes.cast(ctypes.CDLL(str(library)).sgemm_, ctypes.c_void_p).value
    except (OSError, AttributeError):
        return None


_library, _gemm = _load(), _blas()
_AVX512 = _library is not None and _library.experts_instructions(2) == 2
# Of a group; the library is faster with more, where it is found.
_FEW_FORWARD, _FEW_BACKWARD = (56, 112) if _AVX512 else (64, 64)


def groups_for(counts: list[int], x_AD: Tensor, *weights: Tensor) -> Groups:
    """The groups that are best computed here; the largest first, so that threads end together.

    Args:
        counts: rows of each expert.
        x_AD: the rows.
        weights: the two weights of the experts.
    """
    if (
        _library is None
        or x_AD.device.type != "cpu"
        or any(x.dtype != torch.float32 or not x.is_contiguous() for x in (x_AD, *weights))
        or any(size % _ALIGNED for size in weights[0].shape[1:])
    ):
        return []
    # One thread for each expert, rather than all for one product of many rows after the other.
    spread = _gemm and torch.get_num_threads() <= sum(count > _FEW_BACKWARD for count in counts)
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
    if _library.few_rows_linear(ctypes.byref(task)):  # type: ignore[union-attr]
        raise MemoryError("no memory for a matrix product")
    return out


def few_rows(x_MK: Tensor, w_NK: Tensor) -> bool:
    """Whether :func:`linear` is computed here, and not by torch."""
    return (
        _library is not None
        and 1 < len(x_MK) <= (_FEW_FOR_SMALL if w_NK.numel() <= _SMALL else _FEW_FOR_ONE)
        and x_MK.device.type == w_NK.device.type == "cpu"
        and x_MK.dtype == w_NK.dtype == torch.float32
        and x_MK.shape[1] == w_NK.shape[1]  # or torch says what is wrong; C would read on
        and x_MK.stride(1) == 1
        and w_NK.is_contiguous()
        and w_NK.numel() >= _LARGE
        and w_NK.shape[1] % _ALIGNED == 0
    )


def _run(name: str, few: int, groups: Groups, w_in: Tensor, **tensors: Tensor | None) -> None:
    if not groups:
        return
    task = _Task(gemm=_gemm, threads=torch.get_num_threads())
    task.few_rows = few if _gemm else _FEW_BACKWARD
    numbers = (ctypes.c_long * (3 * len(groups)))(*(n for group in groups for n in group))
    task.groups = ctypes.addressof(numbers)
    task.count, task.most_rows = len(groups), groups[0][2]
    _, task.dim, task.hidden_dim = w_in.shape
    for key, tensor in {"w_in": w_in, **tensors}.items():
        setattr(task, key, None if tensor is None else tensor.data_ptr())
    if getattr(_library, name)(ctypes.byref(task)):
        raise MemoryError("no memory for the experts' products")
