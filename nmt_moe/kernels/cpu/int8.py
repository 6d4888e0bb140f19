"""Products with weights in int8, as a search needs them: ``int8.c``, or torch without that.

Every output channel of a weight has a scale, and every row of the other operand has one that is
found as the row comes; sums are whole numbers.
"""

import ctypes
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.kernels.cpu.extension import library

PANEL, CELLS = 64, 16
"""Channels of a panel; cells, of which a panel of an LSTM's weights has all four gates."""
_MOST = 127  # the largest number
_MOST_INPUTS = 2**16  # of which a sum in 32 bits is sure to hold


@dataclass(frozen=True)
class Packed:
    """A weight ``[N, K]`` in the order in which it is read."""

    panels: Tensor
    """uint8 ``[P, K/4, 64, 4]``, rounded up: 128 more than each number."""
    scale: Tensor
    """float32 ``[P*64]``: what a number of each channel stands for."""
    outputs: int
    """``N``."""
    inputs: int
    """``K``."""


def packed_shape(outputs: int, inputs: int) -> tuple[int, int, int, int]:
    """The shape of the panels of a weight ``[N, K]``."""
    return -(-outputs // PANEL), -(-inputs // 4), PANEL, 4


def pack(w_NK: Tensor) -> tuple[Tensor, Tensor]:
    """The panels and scales of a weight ``[N, K]``, or of several ``[..., N, K]``.

    Raises:
        UserError: a number is not finite, or there are more inputs than a sum can hold.
    """
    *several, outputs, inputs = w_NK.shape
    if inputs > _MOST_INPUTS:
        raise UserError(f"int8: a layer with {inputs:,} inputs is too wide, use float32")
    w_NK = w_NK.detach().float()
    scale_N = w_NK.abs().amax(-1) / _MOST
    if not scale_N.isfinite().all():
        raise UserError("int8: the model has weights that are not finite numbers")
    numbers_NK = (w_NK / scale_N.clamp(min=1e-30).unsqueeze(-1)).round() + 128
    panels, fours, _, _ = packed_shape(outputs, inputs)
    more = panels * PANEL - outputs
    numbers_NK = F.pad(numbers_NK.to(torch.uint8), (0, fours * 4 - inputs, 0, more), value=128)
    numbers = numbers_NK.view(*several, panels, PANEL, fours, 4).transpose(-3, -2)
    return numbers.contiguous(), F.pad(scale_N, (0, more))


def by_cells(w_GK: Tensor) -> Tensor:
    """The rows ``[4*C, ...]`` of an LSTM's gates in the order of panels of cells, zeros between."""
    gates = w_GK.view(4, -1, *w_GK.shape[1:])
    more = -gates.shape[1] % CELLS
    padded = torch.cat([gates, gates.new_zeros(4, more, *gates.shape[2:])], dim=1)
    return padded.view(4, -1, CELLS, *gates.shape[2:]).transpose(0, 1).flatten(0, 2)


def unpack(panels: Tensor, scale: Tensor, outputs: int, inputs: int) -> Tensor:
    """The weights ``[..., N, K]`` in float32 that packed ones stand for."""
    numbers = panels.transpose(-3, -2).flatten(-2).flatten(-3, -2).float() - 128
    return (numbers * scale.unsqueeze(-1))[..., :outputs, :inputs]


def rows(packed: Packed, number_T: Tensor) -> Tensor:
    """Rows of a weight, ``[T, K]`` in float32."""
    four_TK = packed.panels[number_T // PANEL, :, number_T % PANEL]
    numbers_TK = four_TK.flatten(1)[:, : packed.inputs].float() - 128
    return numbers_TK * packed.scale[number_T].unsqueeze(1)


def rounded(x: Tensor) -> Tensor:
    """Rows ``[..., K]`` as the products see them, each a multiple of its scale."""
    scale = x.abs().amax(-1, keepdim=True) / _MOST
    return (x / scale.clamp(min=1e-30)).round() * scale


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
        *((name, ctypes.c_long) for name in ("length", "keys_row", "keys_step")),
        *((name, ctypes.c_long) for name in ("source_row", "source_step")),
    ]


class _Mixture(ctypes.Structure):
    """As in ``int8.c``."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("tokens", "dim", "hidden_dim", "experts", "threads")),
        *((name, _Weight) for name in ("w_in", "w_out")),
        *((name, ctypes.c_void_p) for name in ("counts", "token", "gate", "x", "y")),
    ]


@dataclass(frozen=True)
class Recurrent:
    """The weights of an LSTM layer, those of gates and their bias in the order of cells."""

    input: Packed
    recurrent: Packed
    projection: Packed | None
    bias: Tensor
    query: Packed | None = None
    """The attention's, where there is one."""
    context: Packed | None = None
    """Of the attention's contexts to the gates."""


@dataclass(frozen=True)
class Source:
    """What an attention reads."""

    keys_BSD: Tensor
    source_BSD: Tensor
    pad_BS: Tensor
    v_D: Tensor | None
    """None: multiplicative attention."""


def linear(x_MK: Tensor, packed: Packed, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """``x w^T + bias`` ``[M, N]`` in float32; ``bias`` has a number for each channel of panels."""
    x_MK = _ready(x_MK)
    if library is None:
        w_NK = unpack(packed.panels, packed.scale, packed.outputs, packed.inputs)
        y_MN = F.linear(rounded(x_MK), w_NK, None if bias is None else bias[: packed.outputs])
        return y_MN.relu() if relu else y_MN
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
        return _recurrence(w, x_LBI, h_BD, c_BC, source)
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
        task.length = keys_BSD.shape[1]
        task.keys_row, task.keys_step, _ = keys_BSD.stride()
        task.source_row, task.source_step, _ = source_BSD.stride()
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
        return _mixture(w_in, w_out, x_TD, counts_E, token_A, gate_A)
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


def _recurrence(
    w: Recurrent, x_LBI: Tensor, h_BD: Tensor, c_BC: Tensor, source: Source | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    outputs, contexts, attention = [], [], []
    inputs_LBG = linear(x_LBI.flatten(0, 1), w.input, w.bias).view(*x_LBI.shape[:2], -1)
    for gates_BG in inputs_LBG:
        if source is not None and w.query is not None and w.context is not None:
            weights_BS = _attention(linear(h_BD, w.query), source)
            contexts.append((weights_BS.unsqueeze(1) @ source.source_BSD).squeeze(1))
            attention.append(weights_BS)
            gates_BG = gates_BG + linear(contexts[-1], w.context)
        gates_BG = gates_BG + linear(h_BD, w.recurrent)
        gates = gates_BG.unflatten(1, (-1, 4, CELLS)).unbind(2)
        i, f, g, o = (gate.flatten(1)[:, : c_BC.shape[1]] for gate in gates)
        c_BC = f.sigmoid() * c_BC + i.sigmoid() * g.tanh()
        h_BD = o.sigmoid() * c_BC.tanh()
        if w.projection is not None:
            h_BD = linear(h_BD, w.projection)
        outputs.append(h_BD)
    nothing = x_LBI.new_empty(0)
    context_LBD = torch.stack(contexts) if contexts else nothing
    attention_BLS = torch.stack(attention, dim=1) if attention else nothing
    return torch.stack(outputs), c_BC, context_LBD, attention_BLS


def _attention(query_BD: Tensor, source: Source) -> Tensor:
    if source.v_D is None:
        scores_BS = (source.keys_BSD @ query_BD.tanh().unsqueeze(2)).squeeze(2)
    else:
        scores_BS = torch.tanh(source.keys_BSD + query_BD.unsqueeze(1)) @ source.v_D
    weights_BS = scores_BS.masked_fill(source.pad_BS, float("-inf")).softmax(1)
    return weights_BS.masked_fill(source.pad_BS, 0)


def _mixture(
    w_in: Packed, w_out: Packed, x_TD: Tensor, counts_E: Tensor, token_A: Tensor, gate_A: Tensor
) -> Tensor:
    y_TD, first = torch.zeros_like(x_TD), 0
    for expert, count in enumerate(counts_E.tolist()):
        own = slice(first, first + count)
        first += count
        if not count:
            continue
        each = (
            Packed(w.panels[expert], w.scale[expert], w.outputs, w.inputs) for w in (w_in, w_out)
        )
        hidden_AH = linear(x_TD[token_A[own]], next(each), relu=True)
        y_AD = linear(hidden_AH, next(each)) * gate_A[own].unsqueeze(1)
        y_TD.index_add_(0, token_A[own], y_AD)
    return y_TD
