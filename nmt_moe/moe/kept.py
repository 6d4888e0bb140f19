"""Memory for weight gradients that is used again in the next update.

fairseq drops all gradients after an update. On a CPU the system then hands out the pages of the
next ones anew and zeroes them first, which takes longer than the products of many small experts.
"""

import threading

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

_MOST = 2  # of a weight: a gradient, and that of the next batch of the same update
_lock = threading.Lock()
_kept: WeakIdKeyDictionary = WeakIdKeyDictionary()


def empty_gradient(weight: Tensor) -> Tensor:
    """Memory of the shape of ``weight``, with anything in it.

    It was that of an earlier gradient of the same weight if nothing uses that any more, neither
    ``weight.grad`` nor any other tensor. What is kept goes with the weight.
    """
    if weight.device.type != "cpu" or not weight.is_leaf or _uses is None:
        return torch.empty_like(weight)
    with _lock:
        buffers = _kept.setdefault(weight, [])
        buffers[:] = [buffer for buffer in buffers if _fits(buffer, weight)]
        for buffer in buffers:
            if _uses(buffer) == _UNUSED:
                return buffer.detach()
        if len(buffers) == _MOST:
            return torch.empty_like(weight)
        buffers.append(torch.empty_like(weight, requires_grad=False))
        return buffers[-1].detach()


def _fits(buffer: Tensor, weight: Tensor) -> bool:
    return buffer.shape == weight.shape and buffer.dtype == weight.dtype


def _storage_uses(tensor: Tensor) -> int:
    """How many tensors share the memory, and a constant."""
    return torch._C._storage_Use_Count(tensor.untyped_storage()._cdata)


# torch has no public way to ask; without this one, nothing is kept.
_uses = _storage_uses if hasattr(torch._C, "_storage_Use_Count") else None
_UNUSED = 0 if _uses is None else _uses(torch.empty(1))
