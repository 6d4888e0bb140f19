"""cuDNN's LSTM in bfloat16, which torch has since 2.10 where it comes with cuDNN 9.13 or later.

torch gives cuDNN such weights, but ``torch.nn.LSTM.flatten_parameters`` leaves them apart: its list
of the types that cuDNN takes has no bfloat16. Each forward pass then copies all of them into one
piece of memory. Where torch has no such LSTM it takes a kernel of its own for each step, without a
word.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import nn

_logger = logging.getLogger(__name__)


@cache
def has_bfloat16() -> bool:
    """Whether LSTMs in bfloat16 are cuDNN's. Only asked where there is a GPU."""
    return torch.__version__ >= "2.10" and (torch.backends.cudnn.version() or 0) >= 91300


@contextmanager
def taking_bfloat16(lstm: nn.Module) -> Iterator[None]:
    """Let torch flatten this LSTM's weights, if they are in bfloat16 on a GPU, wherever it would
    flatten those of another type. Other LSTMs stay as torch has them."""
    left = _left_apart(lstm)
    types = torch.backends.cudnn.CUDNN_TENSOR_DTYPES
    if left:
        types.add(torch.bfloat16)
    try:
        yield
    finally:
        if left:
            types.discard(torch.bfloat16)


def flatten(lstm: nn.Module) -> None:
    """Flatten the weights if torch has just left them, after a move or a change of their type."""
    if isinstance(lstm, nn.LSTM) and _left_apart(lstm):
        with taking_bfloat16(lstm):
            lstm.flatten_parameters()


def check(lstm: nn.Module) -> None:
    """Say once in a training that an LSTM in bfloat16 is slow with this torch."""
    if lstm.training and torch.is_grad_enabled() and _on_gpu(lstm) and not has_bfloat16():
        _warn()


def _left_apart(lstm: nn.Module) -> bool:
    """Whether cuDNN takes the weights, and torch does not know it."""
    known = torch.bfloat16 in torch.backends.cudnn.CUDNN_TENSOR_DTYPES
    return _on_gpu(lstm) and not known and has_bfloat16()


def _on_gpu(lstm: nn.Module) -> bool:
    weight = next(lstm.parameters(), None)
    return weight is not None and weight.is_cuda and weight.dtype == torch.bfloat16


@cache
def _warn() -> None:
    version = torch.backends.cudnn.version()
    _logger.warning(
        f"LSTMs in bfloat16 are slow with torch {torch.__version__} and cuDNN {version}: they go "
        "step by step, in many small kernels. Install torch 2.10 or later with cuDNN 9.13 or "
        "later, as PyPI has it from torch 2.11 on; or train with --amp or --fp16, not --bf16"
    )
