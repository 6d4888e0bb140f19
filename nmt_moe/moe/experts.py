"""The experts: many small feed-forward networks, each run once on its group of tokens."""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nmt_moe.moe.grouped import segments


class Experts(nn.Module):
    """``E`` networks ``Linear(D, H) -> ReLU -> Linear(H, D)`` without biases.

    Weights are stacked: ``w_in`` is ``[E, D, H]``, ``w_out`` is ``[E, H, D]``. Their attribute
    ``param_group``, which fairseq copies along with a parameter, tells an optimizer what they are.

    Args:
        num_experts: ``E``.
        dim: ``D``.
        hidden_dim: ``H``.
        recompute: compute the hidden activations again in the backward pass instead of keeping
            them (appendix D): ``A*H`` numbers less, one product more, the same gradients.
    """

    def __init__(
        self, num_experts: int, dim: int, hidden_dim: int, recompute: bool = False
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.w_in = nn.Parameter(torch.empty(num_experts, dim, hidden_dim))
        self.w_out = nn.Parameter(torch.empty(num_experts, hidden_dim, dim))
        for weight in (self.w_in, self.w_out):
            weight.param_group = "experts"  # type: ignore[attr-defined]
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
        keep_hidden = torch.is_grad_enabled() and not self.recompute
        return _GroupedFeedForward.apply(*tensors, counts_E.tolist(), keep_hidden)


class _GroupedFeedForward(torch.autograd.Function):
    """All experts in one node of the graph.

    Indexing a stacked parameter once per expert would give autograd a full-size zero
    gradient per expert; here every product writes straight into its slice.
    """

    @staticmethod
    def forward(ctx, x_AD, w_in, w_out, counts, keep_hidden):
        hidden_AH = x_AD.new_empty(x_AD.shape[0], w_in.shape[2]) if keep_hidden else None
        y_AD = torch.empty_like(x_AD)
        for e, rows in segments(counts):
            out = None if hidden_AH is None else hidden_AH[rows]
            hidden = torch.mm(x_AD[rows], w_in[e], out=out).relu_()
            torch.mm(hidden, w_out[e], out=y_AD[rows])
        ctx.save_for_backward(x_AD, w_in, w_out, hidden_AH)
        ctx.counts = counts
        return y_AD

    @staticmethod
    @once_differentiable
    def backward(ctx, dy_AD):
        x_AD, w_in, w_out, hidden_AH = ctx.saved_tensors
        dx_AD = torch.empty_like(x_AD)
        # Not zeros: writing pages twice costs more than the product where experts are many.
        dw_in, dw_out = torch.empty_like(w_in), torch.empty_like(w_out)
        for e, rows in segments(ctx.counts):
            kept = hidden_AH is not None
            hidden = hidden_AH[rows] if kept else torch.mm(x_AD[rows], w_in[e]).relu_()
            torch.mm(hidden.t(), dy_AD[rows], out=dw_out[e])
            dhidden = torch.mm(dy_AD[rows], w_out[e].t()).mul_(hidden > 0)
            torch.mm(x_AD[rows].t(), dhidden, out=dw_in[e])
            torch.mm(dhidden, w_in[e].t(), out=dx_AD[rows])
        for e, count in enumerate(ctx.counts):
            if not count:
                dw_in[e].zero_()
                dw_out[e].zero_()
        return dx_AD, dw_in, dw_out, None, None
