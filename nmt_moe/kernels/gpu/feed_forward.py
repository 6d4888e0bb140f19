"""All experts on a GPU, with gradients: a launch for each kind of product, ReLUs included."""

from typing import Any

import torch
from torch import Tensor

from nmt_moe.kernels.gpu import choices, grouped_mm
from nmt_moe.kernels.gpu.products import product
from nmt_moe.kernels.gpu.tiles import Tiles
from nmt_moe.kernels.gpu.weight_gradients import weight_gradients
from nmt_moe.kernels.operators import like, operator


def feed_forward(
    x_AD: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    ends_E: Tensor,
    keep_hidden: bool,
    stays_AH: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """``relu(x @ w_in[e]) @ w_out[e]`` of each row, ``e`` being its expert.

    Args:
        x_AD: sorted by expert, as :func:`nmt_moe.kernels.gpu.choices.can_multiply` wants it.
        w_in: ``[E, D, H]``.
        w_out: ``[E, H, D]``.
        ends_E: int32: where the rows of each expert end.
        keep_hidden: for the backward pass, which computes it again otherwise.
        stays_AH: bool: false drops a hidden activation, the others are multiplied by ``scale``.
            None: all stay as they are.
        scale: see there.
    """
    inputs = (x_AD, w_in, w_out, ends_E, keep_hidden, stays_AH, scale)
    y_AD: Tensor = _experts(*inputs)[0]
    return y_AD


def gpu_experts_forward(
    x_AD: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    ends_E: Tensor,
    keep_hidden: bool,
    stays_AH: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The output, ``hidden_AH``, which has no rows if it is not kept, and the tiles."""
    tiles = Tiles(ends_E, len(x_AD))
    hidden_AH = product(x_AD, w_in, tiles, True, _numbers(stays_AH), scale)
    y_AD = _rows_times_weights(hidden_AH, w_out, ends_E, tiles)
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
    stays_AH: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of ``x_AD``, ``w_in`` and ``w_out``."""
    dy_AD, tiles = dy_AD.contiguous(), Tiles(ends_E, len(x_AD), tiles_3M)
    if not kept:
        hidden_AH = product(x_AD, w_in, tiles, True, _numbers(stays_AH), scale)
    dw_out = _weight_gradients(hidden_AH, dy_AD, ends_E)
    dhidden_AH = product(dy_AD, w_out.transpose(1, 2), tiles, False, hidden_AH, scale)
    del hidden_AH
    dw_in = _weight_gradients(x_AD, dhidden_AH, ends_E)
    dx_AD = _rows_times_weights(dhidden_AH, w_in.transpose(1, 2), ends_E, tiles)
    return dx_AD, dw_in, dw_out


def _numbers(stays_AH: Tensor | None) -> Tensor | None:
    return None if stays_AH is None else stays_AH.contiguous().view(torch.uint8)


def _rows_times_weights(x_AK: Tensor, w_EKN: Tensor, ends_E: Tensor, tiles: Tiles) -> Tensor:
    if choices.by_torch(x_AK, w_EKN, len(ends_E)):
        return grouped_mm.rows_times_weights(x_AK, w_EKN, ends_E)
    return product(x_AK, w_EKN, tiles)


def _weight_gradients(x_AK: Tensor, dy_AN: Tensor, ends_E: Tensor) -> Tensor:
    if choices.by_torch(x_AK, dy_AN, len(ends_E)):
        return grouped_mm.weight_gradients(x_AK, dy_AN, ends_E)
    return weight_gradients(x_AK, dy_AN, ends_E)


def _fake(
    x_AD: Tensor, w_in: Tensor, w_out: Tensor, ends_E: Tensor, keep_hidden: bool, *_: Any
) -> tuple[Tensor, ...]:
    rows = x_AD.shape[0]
    most = rows // choices.ROWS + torch.sym_min(ends_E.shape[0], rows)
    hidden_AH = x_AD.new_empty(rows if keep_hidden else 0, w_in.shape[2])
    return x_AD.new_empty(x_AD.shape), hidden_AH, ends_E.new_empty(3, most + 1)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.kept, stays_AH, ctx.scale = inputs
    # The hidden activations that are kept tell which were dropped.
    ctx.save_for_backward(*tensors, *output[1:], None if ctx.kept else stays_AH)
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, dy_AD: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    *tensors, stays_AH = ctx.saved_tensors
    found = _experts_gradients(dy_AD, *tensors, ctx.kept, stays_AH, ctx.scale)
    return *found, *[None] * 4


_experts_gradients = operator(
    gpu_experts_backward, lambda dy, x, w_in, w_out, *_: like(x, w_in, w_out)
)
_experts = operator(gpu_experts_forward, _fake, save=_save, backward=_backward)
