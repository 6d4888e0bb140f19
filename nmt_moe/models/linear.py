"""Linear layers, by the products that are fastest on this machine.

The layers are ``torch.nn.Linear`` itself, and no class of ours, as ``torch.ao.quantization``
replaces modules of exactly this class.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nmt_moe.kernels import linear as large
from nmt_moe.kernels.cpu import linear as small
from nmt_moe.kernels.cpu.product import BFLOAT16


class RecurrentLinear(nn.Linear):
    """A layer whose weight a recurrence reads step by step; quantization leaves it as it is."""


class RecurrentLSTM(nn.LSTM):
    """An LSTM with a projection, which quantization cannot have either."""


def apply(module: nn.Module, x: Tensor, wide: bool = False) -> Tensor:
    """What a module makes of ``x``: a linear layer by :func:`linear`."""
    if type(module) is nn.Linear and not (module._forward_hooks or module._forward_pre_hooks):
        return linear(x, module.weight, module.bias, wide)
    return module(x)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, wide: bool = False) -> Tensor:
    """``x weight^T + bias``, as torch's, by the products that are fastest here.

    Args:
        x: ``[..., K]``.
        weight: ``[N, K]``.
        bias: ``[N]`` or None.
        wide: the result may be float32 where torch's would be bfloat16: it need not be rounded.
    """
    if torch.compiler.is_compiling():
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    if _few(rows, weight):
        y = small.linear(rows, weight)
        if bias is not None:
            y += bias
    else:
        how = large.precision_for(rows, weight, bias)
        if how is None:
            return F.linear(x, weight, bias)
        y = large.linear(rows, weight, bias, how)
        if how == BFLOAT16 and not wide:
            y = y.bfloat16()
    return y.view(*x.shape[:-1], -1)


def _few(rows: Tensor, weight: Tensor) -> bool:
    """Whether it is one of a search, which has no gradient."""
    return (
        not torch.is_grad_enabled()
        and not torch.is_autocast_enabled(rows.device.type)
        and small.few_rows(rows, weight)
    )
