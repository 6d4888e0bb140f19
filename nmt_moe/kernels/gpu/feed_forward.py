"""All experts on a GPU, with gradients: a launch for each kind of product, ReLUs included."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt_moe.kernels.gpu.grouped_mm import rows_times_weights, weight_gradients
from nmt_moe.kernels.gpu.products import Tiles, product


def feed_forward(
    x_AD: Tensor, w_in: Tensor, w_out: Tensor, ends_E: Tensor, keep_hidden: bool
) -> Tensor:
    """``relu(x @ w_in[e]) @ w_out[e]`` of each row, ``e`` being its expert.

    Args:
        x_AD: sorted by expert.
        w_in: ``[E, D, H]``, with sizes as :func:`nmt_moe.kernels.gpu.can_multiply` wants them.
        w_out: ``[E, H, D]``.
        ends_E: int32: where the rows of each expert end.
        keep_hidden: for the backward pass, which computes it again otherwise.
    """
    return _FeedForward.apply(x_AD, w_in, w_out, ends_E, keep_hidden)


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_AD, w_in, w_out, ends_E, keep_hidden):
        tiles = Tiles(ends_E, len(x_AD))
        hidden_AH = product(x_AD, w_in, tiles)
        ctx.save_for_backward(x_AD, w_in, w_out, ends_E, hidden_AH if keep_hidden else None)
        ctx.tiles = tiles
        return rows_times_weights(hidden_AH, w_out, ends_E)

    @staticmethod
    @once_differentiable
    def backward(ctx, dy_AD):
        x_AD, w_in, w_out, ends_E, hidden_AH = ctx.saved_tensors
        dy_AD = dy_AD.contiguous()
        if hidden_AH is None:
            hidden_AH = product(x_AD, w_in, ctx.tiles)
        dw_out = weight_gradients(hidden_AH, dy_AD, ends_E)
        dhidden_AH = product(dy_AD, w_out, ctx.tiles, hidden_AH)
        del hidden_AH
        dw_in = weight_gradients(x_AD, dhidden_AH, ends_E)
        dx_AD = rows_times_weights(dhidden_AH, w_in.transpose(1, 2), ends_E)
        return dx_AD, dw_in, dw_out, None, None
