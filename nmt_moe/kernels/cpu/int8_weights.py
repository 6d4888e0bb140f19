"""Weights in int8 in the order of ``int8.c``, and what its layers take.

Every output channel of a weight has a scale.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nmt_moe.common.errors import UserError

PANEL, CELLS = 64, 16
"""Channels of a panel; cells, of which a panel of an LSTM's weights has all four gates."""
MOST = 127
"""The largest number."""
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
    if w_NK.dim() > 2:  # one after the other, for less memory
        all_panels, scales = zip(*map(pack, w_NK), strict=True)
        return torch.stack(all_panels), torch.stack(scales)
    outputs, inputs = w_NK.shape
    if inputs > _MOST_INPUTS:
        raise UserError(f"int8: a layer with {inputs:,} inputs is too wide, use float32")
    w_NK = w_NK.detach().float()
    scale_N = w_NK.abs().amax(1) / MOST
    if not scale_N.isfinite().all():
        raise UserError("int8: the model has weights that are not finite numbers")
    numbers_NK = (w_NK / scale_N.clamp(min=1e-30).unsqueeze(1)).round() + 128
    panels, fours, _, _ = packed_shape(outputs, inputs)
    more = panels * PANEL - outputs
    numbers_NK = F.pad(numbers_NK.to(torch.uint8), (0, fours * 4 - inputs, 0, more), value=128)
    numbers = numbers_NK.view(panels, PANEL, fours, 4).transpose(1, 2)
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


def select(packed: Packed, number_N: Tensor) -> Packed:
    """A weight of some of the output channels."""
    outputs = len(number_N)
    four_N = packed.panels[number_N // PANEL, :, number_N % PANEL]
    more = -outputs % PANEL
    panels = F.pad(four_N, (0, 0, 0, 0, 0, more), value=128).unflatten(0, (-1, PANEL))
    scale = F.pad(packed.scale[number_N], (0, more))
    return Packed(panels.transpose(1, 2).contiguous(), scale, outputs, packed.inputs)


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
    """What an attention reads; equally many rows, side by side, may read one sentence."""

    keys_BSD: Tensor
    source_BSD: Tensor
    pad_BS: Tensor
    v_D: Tensor | None
    """``V`` of additive attention; None: a product of queries and keys."""
    bounded: bool = True
    """Whether a hyperbolic tangent bounds the queries of a product."""
