"""A gate's logits of bfloat16 tokens on a GPU, at its speed in bfloat16 and as exact as float32."""

from typing import Any

import torch
from torch import Tensor

from nmt_moe.kernels.operators import like, operator


def logits(x_TD: Tensor, w_DE: Tensor) -> Tensor:
    """``x_TD @ w_DE`` in float32, of bfloat16: products of such numbers are exact, and are summed
    in float32."""
    found_TE: Tensor = _logits(x_TD, w_DE)
    return found_TE


def gate_logits(x_TD: Tensor, w_DE: Tensor) -> Tensor:
    return torch.mm(x_TD, w_DE, out_dtype=torch.float32)


def gate_logits_backward(d_TE: Tensor, x_TD: Tensor, w_DE: Tensor) -> tuple[Tensor, Tensor]:
    # A gradient is the sum of two bfloat16, to 16 bits.
    high_TE = d_TE.to(x_TD.dtype)
    both_TF = torch.cat([high_TE, (d_TE - high_TE).to(x_TD.dtype)], dim=1)
    dx_TD = both_TF @ torch.cat([w_DE, w_DE], dim=1).t()
    dw_high_DE, dw_low_DE = torch.mm(x_TD.t(), both_TF, out_dtype=torch.float32).chunk(2, 1)
    return dx_TD, (dw_high_DE + dw_low_DE).to(w_DE.dtype)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, d_TE: Tensor) -> tuple[Tensor, Tensor]:
    dx_TD, dw_DE = _gradients(d_TE, *ctx.saved_tensors)
    return dx_TD, dw_DE


_gradients = operator(gate_logits_backward, lambda d, x, w: like(x, w))
_logits = operator(
    gate_logits,
    lambda x, w: x.new_empty(x.shape[0], w.shape[1], dtype=torch.float32),
    save=_save,
    backward=_backward,
)
