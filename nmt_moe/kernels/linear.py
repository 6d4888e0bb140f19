"""A linear layer by the products of ``cpu.product``, with a gradient."""

from typing import Any

import torch
from torch import Tensor

from nmt_moe.kernels.cpu.buffers import empty_activations, empty_gradient
from nmt_moe.kernels.cpu.product import Precision, mm, pays, precision
from nmt_moe.kernels.operators import operator


def linear(x_MK: Tensor, w_NK: Tensor, bias_N: Tensor | None, how: int) -> Tensor:
    """``x w^T + bias``, ``[M, N]`` in float32.

    Args:
        x_MK: float32 or bfloat16, as the others.
        w_NK: the weight.
        bias_N: None: no bias.
        how: the precision of the factors, in the backward pass, too; see ``cpu.product``.
    """
    y_MN: Tensor = _linear(x_MK, w_NK, bias_N, how)
    return y_MN


def precision_for(x_MK: Tensor, w_NK: Tensor, bias_N: Tensor | None = None) -> Precision:
    """That of :func:`linear`; None: torch's layer is what is fastest, or all that can."""
    how = precision(x_MK, w_NK, bias_N)
    # Asked first, as a compiler does not know how many rows there will be.
    return how if how is None or pays(len(x_MK), *w_NK.shape) else None


def own_linear(x_MK: Tensor, w_NK: Tensor, bias_N: Tensor | None, how: int) -> Tensor:
    out = empty_activations(torch.empty(0), len(x_MK), len(w_NK))
    return mm(x_MK, w_NK.t(), how, bias_N, out)


def own_linear_backward(
    dy_MN: Tensor, x_MK: Tensor, w_NK: Tensor, how: int
) -> tuple[Tensor, Tensor]:
    dx_MK = mm(dy_MN, w_NK, how, out=empty_activations(dy_MN, *x_MK.shape))
    return dx_MK.to(x_MK.dtype), of_weight(dy_MN, x_MK, w_NK, how)


def of_weight(dy_MN: Tensor, x_MK: Tensor, w_NK: Tensor, how: int | None) -> Tensor:
    """The gradient of ``w_NK``, of its type: ``dy^T x``."""
    plain = w_NK.dtype == torch.float32 and w_NK.stride(-1) == 1
    out = empty_gradient(w_NK) if plain else None
    return mm(dy_MN.t(), x_MK, how, out=out).to(w_NK.dtype)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x_MK, w_NK, bias_N, ctx.how = inputs
    ctx.bias_type = None if bias_N is None else bias_N.dtype
    ctx.save_for_backward(x_MK, w_NK)


def _backward(ctx: Any, dy_MN: Tensor) -> tuple[Tensor | None, ...]:
    dy_MN = dy_MN.contiguous()
    gradients = _linear_gradients(dy_MN, *ctx.saved_tensors, ctx.how)
    bias = None if ctx.bias_type is None else dy_MN.sum(0).to(ctx.bias_type)
    return *gradients, bias, None


_linear_gradients = operator(
    own_linear_backward,
    lambda dy, x, w, how: (x.new_empty(x.shape), w.new_empty(w.shape)),
)
_linear = operator(
    own_linear,
    lambda x, w, bias, how: x.new_empty(x.shape[0], w.shape[0], dtype=torch.float32),
    save=_save,
    backward=_backward,
)
