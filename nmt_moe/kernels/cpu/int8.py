"""Products with weights in int8, as a search needs them: ``int8.c``, or torch without that.

Every row of what a weight multiplies has a scale that is found as the row comes; sums are whole
numbers.
"""

import ctypes

import torch
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.kernels.cpu import int8_torch
from nmt_moe.kernels.cpu.extension import library
from nmt_moe.kernels.cpu.int8_weights import Packed, Recurrent, Source


class _Weight(ctypes.Structure):
    _fields_ = [("panels", ctypes.c_void_p), ("scale", ctypes.c_void_p)]


class _Linear(ctypes.Structure):
    """As in ``int8.c``."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("rows", "inputs", "outputs")),
        *((name, ctypes.c_long) for name in ("x_row", "relu", "threads")),
        ("w", _Weight),
        *((name, ctypes.c_void_p) for name in ("bias", "x", "y")),
    ]


class _Recurrence(ctypes.Structure):
    """As in ``int8.c``."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("steps", "rows", "inputs", "dim", "cells", "threads")),
        *((name, _Weight) for name in ("input", "recurrent", "projection", "query", "context")),
        *((name, ctypes.c_void_p) for name in ("bias", "x", "h", "c", "keys", "source", "v")),
        *((name, ctypes.c_void_p) for name in ("pad", "contexts", "weights")),
        *((name, ctypes.c_long) for name in ("length", "each", "keys_row", "keys_step")),
        *((name, ctypes.c_long) for name in ("source_row", "source_step", "bounded")),
    ]


class _Mixture(ctypes.Structure):
    """As in ``int8.c``."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("tokens", "dim", "hidden_dim", "experts", "threads")),
        *((name, _Weight) for name in ("w_in", "w_out")),
        *((name, ctypes.c_void_p) for name in ("counts", "token", "gate", "x", "y")),
    ]


def linear(x_MK: Tensor, packed: Packed, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """``x w^T + bias`` ``[M, N]`` in float32; ``bias`` has a number for each channel of panels."""
    x_MK = _ready(x_MK)
    if library is None:
        return int8_torch.linear(x_MK, packed, bias, relu)
    y_MN = x_MK.new_empty(len(x_MK), packed.outputs)
    task = _Linear(len(x_MK), packed.inputs, packed.outputs, x_MK.stride(0), relu)
    task.threads, task.w = torch.get_num_threads(), _weight(packed)
    task.bias, task.x, task.y = _pointer(bias), x_MK.data_ptr(), y_MN.data_ptr()
    _check(library.int8_linear(ctypes.byref(task)))
    return y_MN


def recurrence(
    w: Recurrent, x_LBI: Tensor, h_BD: Tensor, c_BC: Tensor, source: Source | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the steps of an LSTM layer.

    Args:
        w: the weights.
        x_LBI: the inputs.
        h_BD: the output before the first step.
        c_BC: the cells before it.
        source: what the attention reads, where the weights have one.

    Returns:
        The outputs ``[L, B, D]``, the last cells ``[B, C]``, and where there is an attention the
        contexts ``[L, B, D]`` and its weights ``[B, L, S]``, otherwise empty tensors.
    """
    (steps, batch, inputs), dim = x_LBI.shape, h_BD.shape[1]
    if library is None:
        return int8_torch.recurrence(w, x_LBI, h_BD, c_BC, source)
    x_LBI, c_BC = (
        _ready(x_LBI).contiguous(),
        _ready(c_BC).clone(memory_format=torch.contiguous_format),
    )
    h_LBD = x_LBI.new_empty(steps + 1, batch, dim)
    h_LBD[0] = h_BD
    task = _Recurrence(steps, batch, inputs, dim, c_BC.shape[1], torch.get_num_threads())
    for name in ("input", "recurrent", "projection", "query", "context"):
        packed = getattr(w, name)
        if packed is not None:
            setattr(task, name, _weight(packed))
    context_LBD = attention_BLS = x_LBI.new_empty(0)
    tensors = {"bias": w.bias, "x": x_LBI, "h": h_LBD, "c": c_BC}
    if source is not None:
        keys_BSD, source_BSD = _ready(source.keys_BSD), _ready(source.source_BSD)
        task.length, task.each = keys_BSD.shape[1], batch // max(len(keys_BSD), 1)
        task.keys_row, task.keys_step, _ = keys_BSD.stride()
        task.source_row, task.source_step, _ = source_BSD.stride()
        task.bounded = source.bounded
        context_LBD = x_LBI.new_empty(steps, batch, dim)
        attention_BLS = x_LBI.new_empty(batch, steps, task.length)
        tensors |= {"keys": keys_BSD, "source": source_BSD, "pad": source.pad_BS.contiguous()}
        tensors |= {"contexts": context_LBD, "weights": attention_BLS}
        if source.v_D is not None:
            tensors["v"] = source.v_D
    for name, tensor in tensors.items():
        setattr(task, name, tensor.data_ptr())
    _check(library.int8_recurrence(ctypes.byref(task)))
    return h_LBD[1:], c_BC, context_LBD, attention_BLS


def mixture(
    w_in: Packed, w_out: Packed, x_TD: Tensor, counts_E: Tensor, token_A: Tensor, gate_A: Tensor
) -> Tensor:
    """``y_TD``: each token's experts, weighed by their gates and summed.

    Args:
        w_in: the experts' weights ``[E, H, D]``, panels and scales with ``E`` in front.
        w_out: the same, ``[E, D, H]``.
        x_TD: the tokens.
        counts_E: int64: the assignments of each expert.
        token_A: int64: the token of each assignment, sorted by expert.
        gate_A: the weight of each assignment.
    """
    x_TD, gate_A = _ready(x_TD).contiguous(), _ready(gate_A).contiguous()
    if library is None:
        return int8_torch.mixture(w_in, w_out, x_TD, counts_E, token_A, gate_A)
    y_TD = torch.empty_like(x_TD)
    counts_E, token_A = counts_E.contiguous(), token_A.contiguous()
    task = _Mixture(len(x_TD), w_in.inputs, w_in.outputs, len(counts_E), torch.get_num_threads())
    task.w_in, task.w_out = _weight(w_in), _weight(w_out)
    tensors = {"counts": counts_E, "token": token_A, "gate": gate_A, "x": x_TD, "y": y_TD}
    for name, tensor in tensors.items():
        setattr(task, name, tensor.data_ptr())
    _check(library.int8_mixture(ctypes.byref(task)))
    return y_TD


def _ready(x: Tensor) -> Tensor:
    """In float32 with the numbers of a row side by side.

    Raises:
        UserError: it is on a GPU.
    """
    if x.device.type != "cpu":
        raise UserError("a model in int8 translates on CPUs: use --device cpu, or fairseq's --cpu")
    x = x.float()
    return x if x.stride(-1) == 1 else x.contiguous()


def _weight(packed: Packed) -> _Weight:
    if packed.scale.dtype != torch.float32:
        raise UserError(
            "a model in int8 computes in float32: leave out --fp16, half() or bfloat16()"
        )
    return _Weight(packed.panels.data_ptr(), packed.scale.data_ptr())


def _pointer(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


def _check(failed: int) -> None:
    if failed:
        raise MemoryError("no memory for a matrix product")
