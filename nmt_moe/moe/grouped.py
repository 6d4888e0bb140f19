"""Tokens sorted by group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nmt_moe.kernels import grouped

if TYPE_CHECKING:
    from nmt_moe.kernels.gpu.tokens import Assignments


@dataclass(frozen=True)
class GroupedTokens:
    """The rows that a bank of gates sees: each a token that was sent to a group.

    Rows are sorted by group; a token may be in several groups.
    """

    x_TD: Tensor
    token_R: Tensor
    """int64: the token of a row."""
    group_R: Tensor
    """int64: the group of a row, ascending."""
    counts_G: Tensor
    """int64: rows per group."""
    places: Assignments | None = None
    """The same rows as the kernels of a GPU want them, where these multiply."""

    def place_in_group(self) -> Tensor:
        """``[R]``: how many rows of its group come before each row."""
        start_G = self.counts_G.cumsum(0) - self.counts_G
        return torch.arange(self.group_R.shape[0], device=start_G.device) - start_G[self.group_R]

    def product(self, w_GDE: Tensor) -> Tensor:
        """``[R, E]``: each row times the matrix of its group. Other groups cost nothing."""
        if self.places is not None:
            from nmt_moe.kernels.gpu import bank  # Triton is not everywhere

            return bank.product(self.x_TD, w_GDE, self.places, self.counts_G)
        w_GDE = w_GDE.to(self.x_TD.dtype)
        return grouped.product(self.x_TD, self.token_R, w_GDE, self.counts_G)
