"""All experts on a GPU, with gradients: a launch for each kind of product, ReLUs included."""

from typing import Any

import torch
from torch import Tensor

from nmt_moe.kernels.gpu.grouped_mm import rows_times_weights, weight_gradients
from nmt_moe.kernels.gpu.products import ROWS, Tiles, product
from nmt_moe.kernels.operators import like, operator


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
    y_AD: Tensor = _experts(x_AD, w_in, w_out, ends_E, keep_hidden)[0]
    return y_AD


def gpu_experts_forward(
    x_AD: Tensor, w_in: Tensor, w_out: Tensor, ends_E: Tensor, keep_hidden: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The output, ``hidden_AH``, which has no rows if it is not kept, and the tiles."""
    tiles = Tiles(ends_E, len(x_AD))
    hidden_AH = product(x_AD, w_in, tiles)
    y_AD = rows_times_weights(hidden_AH, w_out, ends_E)
    kept_AH = hidden_AH if keep_hidden else hidden_AH.new_empty(0, w_in.shape[2])
    return y_AD, kept_AH, tiles.found_3M


def gpu_experts_backward(
    dy_AD: Tensor,
    x_AD: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    ends_E: Tensor,
    hidden_AH: Tensor,
    tiles_3M: Tensor,
    kept: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of ``x_AD``, ``w_in`` and ``w_out``."""
    dy_AD, tiles = dy_AD.contiguous(), Tiles(ends_E, len(x_AD), tiles_3M)
    hidden_AH = hidden_AH if kept else product(x_AD, w_in, tiles)
    dw_out = weight_gradients(hidden_AH, dy_AD, ends_E)
    dhidden_AH = product(dy_AD, w_out, tiles, hidden_AH)
    del hidden_AH
    dw_in = weight_gradients(x_AD, dhidden_AH, ends_E)
    return rows_times_weights(dhidden_AH, w_in.transpose(1, 2), ends_E), dw_in, dw_out


def _fake(
    x_AD: Tensor, w_in: Tensor, w_out: Tensor, ends_E: Tensor, keep_hidden: bool
) -> tuple[Tensor, ...]:
    rows = x_AD.shape[0]
    most = rows // ROWS + torch.sym_min(ends_E.shape[0], rows)
    hidden_AH = x_AD.new_empty(rows if keep_hidden else 0, w_in.shape[2])
    return x_AD.new_empty(x_AD.shape), hidden_AH, ends_E.new_empty(3, most)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.kept = inputs
    ctx.save_for_backward(*tensors, *output[1:])
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, dy_AD: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    return *_experts_gradients(dy_AD, *ctx.saved_tensors, ctx.kept), None, None


_experts_gradients = operator(
    gpu_experts_backward, lambda dy, x, w_in, w_out, *_: like(x, w_in, w_out)
)
_experts = operator(gpu_experts_forward, _fake, save=_save, backward=_backward)
