"""The layer's work on GPUs in kernels of its own. They need Triton, which torch for CUDA brings."""

import torch
from torch import Tensor

from nmt_moe.kernels.gpu.choices import HAS_TRITON


def can_move(x: Tensor) -> bool:
    """Whether :mod:`nmt_moe.kernels.gpu.tokens` can do with such rows."""
    return HAS_TRITON and x.is_cuda and x.dtype != torch.float64


def key_type(numbers: int) -> torch.dtype:
    """The shortest type of 0 to ``numbers - 1``: a sort on a GPU takes a pass for each byte."""
    for dtype in (torch.uint8, torch.int16):
        if numbers <= torch.iinfo(dtype).max + 1:
            return dtype
    return torch.int32


def can_choose(x_TD: Tensor, experts: int, k: int) -> bool:
    """Whether :func:`nmt_moe.kernels.gpu.noisy.choose` can do for such tokens."""
    return can_move(x_TD) and k < min(experts, 17) and experts <= 4096


def can_recur(gates: Tensor) -> bool:
    """Whether :mod:`nmt_moe.kernels.gpu.cell` can do the steps of such pre-activations.

    A compiler makes kernels of its own of torch's steps.
    """
    return can_move(gates) and not torch.compiler.is_compiling()


def can_attend(query_RD: Tensor, *read: Tensor) -> bool:
    """Whether :mod:`nmt_moe.kernels.gpu.attention` can do with such queries, keys and source."""
    by_rows = all(x.stride(-1) == 1 for x in read)
    return can_recur(query_RD) and by_rows and query_RD.shape[1] <= 8192


def can_update(*tensors: Tensor) -> bool:
    """Whether :mod:`nmt_moe.kernels.gpu.adam` can do with a weight and its gradient."""
    return HAS_TRITON and all(
        x.is_cuda and x.dtype == torch.bfloat16 and x.is_contiguous() for x in tensors
    )
