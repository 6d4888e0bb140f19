"""A gate's logits of bfloat16 tokens on a GPU, at its speed in bfloat16 and as exact as float32."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def logits(x_TD: Tensor, w_DE: Tensor) -> Tensor:
    """``x_TD @ w_DE`` in float32, of bfloat16: products of such numbers are exact, and are summed
    in float32."""
    return _Logits.apply(x_TD, w_DE)


class _Logits(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_TD, w_DE):
        ctx.save_for_backward(x_TD, w_DE)
        return torch.mm(x_TD, w_DE, out_dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_TE):
        x_TD, w_DE = ctx.saved_tensors
        # A gradient is the sum of two bfloat16, to 16 bits.
        high_TE = d_TE.to(x_TD.dtype)
        both_TF = torch.cat([high_TE, (d_TE - high_TE).to(x_TD.dtype)], dim=1)
        dx_TD = both_TF @ torch.cat([w_DE, w_DE], dim=1).t()
        dw_high_DE, dw_low_DE = torch.mm(x_TD.t(), both_TF, out_dtype=torch.float32).chunk(2, 1)
        return dx_TD, (dw_high_DE + dw_low_DE).to(w_DE.dtype)
