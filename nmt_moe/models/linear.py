"""Linear layers with a fast path for the few rows of a beam search step.

The layers are ``torch.nn.Linear`` itself, and no class of ours, as ``torch.ao.quantization``
replaces modules of exactly this class.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nmt_moe.kernels.cpu import linear as kernel


class RecurrentLinear(nn.Linear):
    """A layer whose weight a recurrence reads step by step; quantization leaves it as it is."""


class RecurrentLSTM(nn.LSTM):
    """An LSTM with a projection, which quantization cannot have either."""


def apply(module: nn.Module, x: Tensor) -> Tensor:
    """What a module makes of ``x``; in a search, a linear layer by :func:`linear`."""
    if type(module) is nn.Linear and not (torch.is_grad_enabled() or module._forward_hooks):
        return linear(x, module.weight, module.bias)
    return module(x)


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
