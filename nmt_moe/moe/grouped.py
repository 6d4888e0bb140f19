"""Matrix products of many small groups of rows, each group with a matrix of its own."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def segments(counts: list[int]) -> Iterator[tuple[int, slice]]:
    """``(group, its slice of the rows)`` for each group that has any."""
    start = 0
    for group, count in enumerate(counts):
        if count:
            yield group, slice(start, start + count)
        start += count


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
        return torch.arange(len(self.group_R), device=start_G.device) - start_G[self.group_R]

    def product(self, w_GDE: Tensor) -> Tensor:
        """``[R, E]``: each row times the matrix of its group. Other groups cost nothing."""
        w_GDE = w_GDE.to(self.x_TD.dtype)
        return _GroupedProduct.apply(self.x_TD, self.token_R, w_GDE, self.counts_G.tolist())


class _GroupedProduct(torch.autograd.Function):
    """Gathers the tokens of one group at a time: no copy of all rows is ever made or kept."""

    @staticmethod
    def forward(ctx, x_TD, token_R, w_GDE, counts):
        out_RE = x_TD.new_empty(token_R.shape[0], w_GDE.shape[2])
        for group, rows in segments(counts):
            torch.mm(x_TD.index_select(0, token_R[rows]), w_GDE[group], out=out_RE[rows])
        ctx.save_for_backward(x_TD, token_R, w_GDE)
        ctx.counts = counts
        return out_RE

    @staticmethod
    @once_differentiable
    def backward(ctx, dout_RE):
        x_TD, token_R, w_GDE = ctx.saved_tensors
        dx_TD, dw_GDE = torch.zeros_like(x_TD), torch.zeros_like(w_GDE)
        with torch.autocast(x_TD.device.type, enabled=False):  # a caller's reaches backward, too
            for group, rows in segments(ctx.counts):
                tokens, dout = token_R[rows], dout_RE[rows]
                torch.mm(x_TD.index_select(0, tokens).t(), dout, out=dw_GDE[group])
                dx_TD.index_add_(0, tokens, dout @ w_GDE[group].t())
        return dx_TD, None, dw_GDE, None
