"""Losses of rows of logits, and their gradient, in one pass each: ``loss.c``."""

import ctypes

import torch
from torch import Tensor

from nmt_moe.kernels.cpu.buffers import empty_activations
from nmt_moe.kernels.cpu.extension import library

_SMALL = 2**14  # numbers of all rows; more threads than one would wait longer than they help


class _Task(ctypes.Structure):
    """As in ``loss.c``."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("rows", "columns", "threads")),
        *((name, ctypes.c_void_p) for name in ("logits", "target", "logsumexp", "nll", "all")),
        *((name, ctypes.c_float) for name in ("scale", "correct", "other")),
        *((name, ctypes.c_void_p) for name in ("gradient", "divergence")),
        ("apart", ctypes.c_float),
        ("steps", ctypes.c_long),
    ]


def usable(logits_NV: Tensor) -> bool:
    """Whether these can be computed here."""
    return (
        library is not None
        and library.products_instructions() > 0
        and logits_NV.device.type == "cpu"
        and logits_NV.dtype == torch.float32
        and logits_NV.is_contiguous()
    )


def forward(
    logits_NV: Tensor, target_N: Tensor, steps: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """``[N]`` each: the logarithm of the sum of exponentials, minus the logarithm of the target's
    probability, and the sum of those of all columns; zeros where there is no target.

    Args:
        logits_NV: by rows.
        target_N: int64, by rows; below 0: none.
        steps: of ``2*steps`` rows at a time, those that are so far apart are a pair, which has one
            target. The last tensor then has ``KL(p || q)`` of each row, ``q`` being that of its
            pair; 0: no pairs.
    """
    logsumexp_N, nll_N, all_N, divergence_N = (torch.empty(len(target_N)) for _ in range(4))
    outputs = {"logsumexp": logsumexp_N, "nll": nll_N, "all": all_N}
    apart_N = divergence_N if steps else None
    _run("losses", logits_NV, target_N, **outputs, divergence=apart_N, steps=steps)
    return logsumexp_N, nll_N, all_N, apart_N


def gradient(
    logits_NV: Tensor,
    target_N: Tensor,
    logsumexp_N: Tensor,
    divergence_N: Tensor | None = None,
    **factors: float,
) -> Tensor:
    """``[N, V]``: ``scale * (p - other)``, less by ``scale * correct`` at the target; zeros in rows
    without one.

    Args:
        logits_NV: as in :func:`forward`.
        target_N: likewise.
        logsumexp_N: from there.
        divergence_N: likewise; ``apart`` times the gradient of the sum of all is added.
        factors: ``scale``, ``correct`` and ``other``, and with divergences ``apart`` and ``steps``.
    """
    out_NV = empty_activations(logits_NV, *logits_NV.shape)
    tensors = {"logsumexp": logsumexp_N, "divergence": divergence_N, "gradient": out_NV}
    _run("loss_gradients", logits_NV, target_N, **tensors, **factors)
    return out_NV


def _run(name: str, logits_NV: Tensor, target_N: Tensor, **more: Tensor | float | None) -> None:
    task = _Task(*logits_NV.shape)
    task.threads = torch.get_num_threads() if logits_NV.numel() >= _SMALL else 1
    for key, value in {"logits": logits_NV, "target": target_N, **more}.items():
        setattr(task, key, value.data_ptr() if isinstance(value, Tensor) else value)
    getattr(library, name)(ctypes.byref(task))
