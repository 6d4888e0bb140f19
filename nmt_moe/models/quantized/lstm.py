"""The LSTM layers in int8; all steps of a layer are one call of the kernel, cells are float32."""

from typing import Any

import torch
from torch import Tensor, nn

from nmt_moe.kernels.cpu import int8, int8_weights
from nmt_moe.kernels.cpu.int8_weights import Recurrent, Source
from nmt_moe.models.attention import MultiplicativeAttention
from nmt_moe.models.lstm import State, zero_state
from nmt_moe.models.quantized.weights import FLOAT, Int8Weight, rename


class _Gates(Int8Weight):
    """Of the gates, in the order of cells."""

    def __init__(self, cells: int, inputs: int) -> None:
        super().__init__(-(-cells // int8_weights.CELLS) * int8_weights.PANEL, inputs)
        self.rows = 4 * cells

    def _ordered(self, weight: Tensor) -> Tensor:
        return int8_weights.by_cells(weight) if len(weight) == self.rows else weight


class _Layer(nn.Module):
    """What both layers have: weights of inputs and outputs, a projection and a bias."""

    bias: Tensor
    names: dict[str, str]
    """Entries of a checkpoint in float32, and what they are here."""
    biases: tuple[str, str]

    def __init__(self, input_dim: int, dim: int, cells: int) -> None:
        super().__init__()
        self.dim, self.cells = dim, cells
        self.input, self.recurrent = _Gates(cells, input_dim), _Gates(cells, dim)
        self.projection = Int8Weight(dim, cells) if cells != dim else None
        self.register_buffer("bias", torch.empty(self.input.outputs))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        rename(state_dict, prefix, self.names)
        found = [state_dict.pop(prefix + name, None) for name in self.biases]
        if None not in found:
            state_dict[f"{prefix}bias"] = int8_weights.by_cells(sum(found))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _weights(self, **more: Any) -> Recurrent:
        projection = None if self.projection is None else self.projection.packed
        return Recurrent(self.input.packed, self.recurrent.packed, projection, self.bias, **more)


class Int8LSTM(_Layer):
    """In place of :class:`nmt_moe.models.lstm.LSTM`."""

    names = {
        "lstm.weight_ih_l0": f"input.{FLOAT}",
        "lstm.weight_hh_l0": f"recurrent.{FLOAT}",
        "lstm.weight_hr_l0": f"projection.{FLOAT}",
    }
    biases = ("lstm.bias_ih_l0", "lstm.bias_hh_l0")

    def forward(self, x_LBD: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """As in float32."""
        if state is None:
            state = zero_state(x_LBD, self.dim, self.cells)
        out_LBD, c_BC, _, _ = int8.recurrence(self._weights(), x_LBD, *state)
        return out_LBD, (out_LBD[-1], c_BC)


class Int8AttentionLSTM(_Layer):
    """In place of :class:`nmt_moe.models.lstm.AttentionLSTM`."""

    names = {"w_input": f"input.{FLOAT}", "projection.weight": f"projection.{FLOAT}"}
    biases = ("b_input", "b_recurrent")

    def __init__(self, dim: int, cells: int) -> None:
        super().__init__(dim, dim, cells)
        self.context = _Gates(cells, dim)

    def forward(
        self,
        x_LBD: Tensor,
        attention: MultiplicativeAttention,
        keys_BSD: Tensor,
        source_BSD: Tensor,
        pad_BS: Tensor,
        state: State | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, State]:
        """As in float32, with the attention's query in int8."""
        if state is None:
            state = zero_state(x_LBD, self.dim, self.cells)
        weights = self._weights(query=attention.query.packed, context=self.context.packed)
        source = Source(keys_BSD, source_BSD, pad_BS, attention.v_of_scores, attention.bounded)
        h_LBD, c_BC, context_LBD, attn_BLS = int8.recurrence(weights, x_LBD, *state, source)
        return h_LBD, context_LBD, attn_BLS, (h_LBD[-1], c_BC)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        both = state_dict.pop(f"{prefix}w_recurrent", None)
        if both is not None:  # context, then output
            halves = both.split(self.dim, dim=1)
            for name, weight in zip(("context", "recurrent"), halves, strict=False):
                state_dict[f"{prefix}{name}.{FLOAT}"] = weight
        super()._load_from_state_dict(state_dict, prefix, *args)
