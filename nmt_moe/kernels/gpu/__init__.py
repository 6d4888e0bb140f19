"""The layer's work on GPUs in kernels of its own. They need Triton, which torch for CUDA brings."""

import importlib.util

import torch
from torch import Tensor

_HAS_TRITON = importlib.util.find_spec("triton") is not None


def can_move(x: Tensor) -> bool:
    """Whether :mod:`nmt_moe.kernels.gpu.tokens` can do with such rows."""
    return _HAS_TRITON and x.is_cuda and x.dtype != torch.float64


def can_multiply(*weights: Tensor) -> bool:
    """Whether :mod:`nmt_moe.kernels.gpu.feed_forward` can do with such matrices."""
    whole = all(size % 64 == 0 for w in weights for size in w.shape[1:])
    return _HAS_TRITON and whole


def can_choose(x_TD: Tensor, experts: int, k: int) -> bool:
    """Whether :func:`nmt_moe.kernels.gpu.noisy.choose` can do for such tokens."""
    return can_move(x_TD) and k < min(experts, 17) and experts <= 4096
