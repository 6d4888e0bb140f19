"""Weights in int8 as modules: they read a checkpoint in float32 or one of their own."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nmt_moe.kernels.cpu import int8
from nmt_moe.kernels.cpu.int8_weights import PANEL, Packed, pack, packed_shape, rows, select
from nmt_moe.moe import MixtureOfExperts, Routing
from nmt_moe.moe.experts import Experts

FLOAT = "float32"
"""The last part of a weight's name in a state dict before it is packed."""


class Int8Weight(nn.Module):
    """A weight ``[N, K]``, or several of that shape.

    Args:
        outputs: ``N``.
        inputs: ``K``.
        several: how many there are, as a shape.
    """

    panels: Tensor
    scale: Tensor

    def __init__(self, outputs: int, inputs: int, several: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.outputs, self.inputs, self.several = outputs, inputs, several
        shape = packed_shape(outputs, inputs)
        self.register_buffer("panels", torch.empty(*several, *shape, dtype=torch.uint8))
        self.register_buffer("scale", torch.empty(*several, shape[0] * PANEL))

    @property
    def packed(self) -> Packed:
        """The weight as the products take it."""
        return Packed(self.panels, self.scale, self.outputs, self.inputs)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"outputs={self.outputs}, inputs={self.inputs}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        given = state_dict.pop(prefix + FLOAT, None)
        if given is not None:
            w_NK = self._ordered(given)
            if w_NK.shape[-2:] == (self.outputs, self.inputs):
                state_dict[f"{prefix}panels"], state_dict[f"{prefix}scale"] = pack(w_NK)
            else:  # which torch says
                state_dict[f"{prefix}panels"] = w_NK
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _ordered(self, weight: Tensor) -> Tensor:
        """The weight of a checkpoint in float32 as ``[N, K]``."""
        return weight


class Int8Linear(Int8Weight):
    """In place of a ``torch.nn.Linear`` without a bias."""

    def forward(self, x: Tensor) -> Tensor:
        """``[..., K]`` to ``[..., N]``."""
        y = int8.linear(x.reshape(-1, x.shape[-1]), self.packed)
        return y.view(*x.shape[:-1], -1)

    def of_words(self, words_N: Tensor) -> "Int8Linear":
        """The same with some of the outputs, for a shortlist."""
        made, packed = Int8Linear(0, self.inputs), select(self.packed, words_N)
        made.panels, made.scale, made.outputs = packed.panels, packed.scale, packed.outputs
        return made

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        rename(state_dict, prefix, {"weight": FLOAT})
        super()._load_from_state_dict(state_dict, prefix, *args)


class Int8Embedding(Int8Linear):
    """In place of a ``torch.nn.Embedding``; its weight may be that of a linear layer, too."""

    @property
    def embedding_dim(self) -> int:
        """The width."""
        return self.inputs

    @property
    def num_embeddings(self) -> int:
        """The number of words."""
        return self.outputs

    def forward(self, tokens: Tensor) -> Tensor:
        """The rows of these words, ``[..., K]``."""
        return rows(self.packed, tokens.reshape(-1)).view(*tokens.shape, -1)


class Int8Experts(nn.Module):
    """In place of :class:`~nmt_moe.moe.experts.Experts` that one process has.

    Args:
        experts: ``E``.
        dim: ``D``.
        hidden_dim: ``H``.
    """

    mesh = None

    def __init__(self, experts: int, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.num_experts = experts
        self.w_in = _Turned(hidden_dim, dim, (experts,))
        self.w_out = _Turned(dim, hidden_dim, (experts,))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        rename(state_dict, prefix, {name: f"{name}.{FLOAT}" for name in ("w_in", "w_out")})
        super()._load_from_state_dict(state_dict, prefix, *args)


class _Turned(Int8Weight):
    """Of experts, whose weights in float32 have the inputs first."""

    def _ordered(self, weight: Tensor) -> Tensor:
        return weight.transpose(-2, -1)


class Int8Mixture(MixtureOfExperts):
    """A mixture of :class:`Int8Experts`, from :func:`of_mixture`."""

    experts: Int8Experts  # type: ignore[assignment]

    @property
    def ops_per_token(self) -> int:
        """Multiply-adds of a token: the gates that see it, and its experts."""
        w_in = self.experts.w_in
        expert = 2 * w_in.inputs * w_in.outputs
        return self.gate.ops_per_token + self.experts_per_token * expert

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """As in float32."""
        x_TD = x.reshape(-1, x.shape[-1])
        routing = self.gate(x_TD)
        y_TD = int8.mixture(
            self.experts.w_in.packed,
            self.experts.w_out.packed,
            x_TD,
            routing.counts_E,
            routing.token_A,
            routing.gate_A,
        )
        return y_TD.view(x.shape), routing


def of_mixture(layer: MixtureOfExperts) -> Int8Mixture:
    """The same layer, its gate kept, with experts in int8 that have no numbers yet."""
    experts: Experts = layer.experts
    _, dim, hidden_dim = experts.w_in.shape
    # A mixture with its gate but without drawing experts again, which may take all the memory.
    layer.__class__ = Int8Mixture
    layer.experts = Int8Experts(experts.num_experts, dim, hidden_dim)  # type: ignore[assignment]
    return layer  # type: ignore[return-value]


def rename(state_dict: dict[str, Any], prefix: str, names: Mapping[str, str]) -> None:
    """Give entries of a module's state other names, those that are there."""
    for old, new in names.items():
        if prefix + old in state_dict:
            state_dict[prefix + new] = state_dict.pop(prefix + old)
