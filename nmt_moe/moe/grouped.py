"""Tokens sorted by group."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nmt_moe.kernels import grouped


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

    def place_in_group(self) -> Tensor:
        """``[R]``: how many rows of its group come before each row."""
        start_G = self.counts_G.cumsum(0) - self.counts_G
        return torch.arange(self.group_R.shape[0], device=start_G.device) - start_G[self.group_R]

    def product(self, w_GDE: Tensor) -> Tensor:
        """``[R, E]``: each row times the matrix of its group. Other groups cost nothing."""
        w_GDE = w_GDE.to(self.x_TD.dtype)
        return grouped.product(self.x_TD, self.token_R, w_GDE, self.counts_G)
