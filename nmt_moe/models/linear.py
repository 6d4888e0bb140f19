"""A linear layer with a fast path for the few rows of a beam search step."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nmt_moe.kernels.cpu import linear as kernel


class Linear(nn.Linear):
    """``torch.nn.Linear`` with the same parameters, computed by :func:`linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x weight^T + bias``, as torch's; without gradients, by the kernel where that is faster."""
    rows = x.reshape(-1, x.shape[-1])
    if (
        torch.is_grad_enabled()
        or torch.is_autocast_enabled(x.device.type)
        or not kernel.few_rows(rows, weight)
    ):
        return F.linear(x, weight, bias)
    y = kernel.linear(rows, weight)
    if bias is not None:
        y += bias
    return y.view(*x.shape[:-1], -1)
