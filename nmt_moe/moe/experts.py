"""The experts: many small feed-forward networks, each run once on its group of tokens."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Experts(nn.Module):
    """``E`` networks ``Linear(D, H) -> ReLU -> Linear(H, D)`` without biases.

    Weights are stacked: ``w_in`` is ``[E, D, H]``, ``w_out`` is ``[E, H, D]``.
    """

    def __init__(self, num_experts: int, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.w_in = nn.Parameter(torch.empty(num_experts, dim, hidden_dim))
        self.w_out = nn.Parameter(torch.empty(num_experts, hidden_dim, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for weight in (self.w_in, self.w_out):
            bound = (3 / weight.shape[1]) ** 0.5  # unit variance: 1 / fan-in
            nn.init.uniform_(weight, -bound, bound)

    def forward(self, x_AD: Tensor, counts_E: Tensor) -> Tensor:
        """Run each expert on its rows.

        Args:
            x_AD: rows sorted by expert.
            counts_E: how many rows each expert has; sums to ``A``. Zeros are fine.

        Returns:
            ``[A, D]``, in the same order.
        """
        device = x_AD.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        tensors = (x_AD.to(dtype), self.w_in.to(dtype), self.w_out.to(dtype))
        return _GroupedFeedForward.apply(*tensors, counts_E.tolist())


class _GroupedFeedForward(torch.autograd.Function):
    """All experts in one node of the graph.

    Indexing a stacked parameter once per expert would give autograd a full-size zero
    gradient per expert; here every product writes straight into its slice.
    """

    @staticmethod
    def forward(ctx, x_AD, w_in, w_out, counts):
        hidden_AH = x_AD.new_empty(x_AD.shape[0], w_in.shape[2])
        y_AD = torch.empty_like(x_AD)
        for e, rows in _segments(counts):
            torch.mm(x_AD[rows], w_in[e], out=hidden_AH[rows])
            torch.mm(hidden_AH[rows].relu_(), w_out[e], out=y_AD[rows])
        ctx.save_for_backward(x_AD, w_in, w_out, hidden_AH)
        ctx.counts = counts
        return y_AD

    @staticmethod
    @once_differentiable
    def backward(ctx, dy_AD):
        x_AD, w_in, w_out, hidden_AH = ctx.saved_tensors
        dy_AD = dy_AD.contiguous()
        dx_AD, dw_in, dw_out = (torch.empty_like(t) for t in (x_AD, w_in, w_out))
        for e, rows in _segments(ctx.counts):
            h = hidden_AH[rows]
            torch.mm(h.t(), dy_AD[rows], out=dw_out[e])
            dh = torch.mm(dy_AD[rows], w_out[e].t()).mul_(h > 0)
            torch.mm(x_AD[rows].t(), dh, out=dw_in[e])
            torch.mm(dh, w_in[e].t(), out=dx_AD[rows])
        for e, count in enumerate(ctx.counts):
            if not count:
                dw_in[e].zero_()
                dw_out[e].zero_()
        return dx_AD, dw_in, dw_out, None


def _segments(counts: list[int]) -> Iterator[tuple[int, slice]]:
    """``(expert, its slice of the rows)`` for each expert that has any."""
    start = 0
    for expert, count in enumerate(counts):
        if count:
            yield expert, slice(start, start + count)
        start += count
