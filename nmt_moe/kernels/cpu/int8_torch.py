"""What ``int8.c`` computes, by torch in float32: where it was not compiled."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from nmt_moe.kernels.cpu.int8_weights import CELLS, MOST, Packed, Recurrent, Source, unpack


def linear(x_MK: Tensor, packed: Packed, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """As :func:`nmt_moe.kernels.cpu.int8.linear`."""
    w_NK = unpack(packed.panels, packed.scale, packed.outputs, packed.inputs)
    y_MN = F.linear(rounded(x_MK), w_NK, None if bias is None else bias[: packed.outputs])
    return y_MN.relu() if relu else y_MN


def rounded(x: Tensor) -> Tensor:
    """Rows ``[..., K]`` as the products see them, each a multiple of its scale."""
    scale = x.abs().amax(-1, keepdim=True) / MOST
    return (x / scale.clamp(min=1e-30)).round() * scale


def recurrence(
    w: Recurrent, x_LBI: Tensor, h_BD: Tensor, c_BC: Tensor, source: Source | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As :func:`nmt_moe.kernels.cpu.int8.recurrence`."""
    outputs, contexts, attention = [], [], []
    if source is not None:
        source = _for_each(source, len(h_BD))
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


def _for_each(source: Source, rows: int) -> Source:
    """A sentence for each row, where several rows, side by side, read the same."""
    each = rows // max(len(source.keys_BSD), 1)
    keys, texts, pad = (
        x.repeat_interleave(each, 0) for x in (source.keys_BSD, source.source_BSD, source.pad_BS)
    )
    return replace(source, keys_BSD=keys, source_BSD=texts, pad_BS=pad)


def _attention(query_BD: Tensor, source: Source) -> Tensor:
    if source.v_D is None:
        query_BD = query_BD.tanh() if source.bounded else query_BD
        scores_BS = (source.keys_BSD @ query_BD.unsqueeze(2)).squeeze(2)
    else:
        scores_BS = torch.tanh(source.keys_BSD + query_BD.unsqueeze(1)) @ source.v_D
    weights_BS = scores_BS.masked_fill(source.pad_BS, float("-inf")).softmax(1)
    return weights_BS.masked_fill(source.pad_BS, 0)


def mixture(
    w_in: Packed, w_out: Packed, x_TD: Tensor, counts_E: Tensor, token_A: Tensor, gate_A: Tensor
) -> Tensor:
    """As :func:`nmt_moe.kernels.cpu.int8.mixture`."""
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
