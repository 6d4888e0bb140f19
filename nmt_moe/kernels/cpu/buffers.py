"""Memory for weight gradients and activations that is used again in the next update.

fairseq drops all gradients after an update, and autograd the activations. On a CPU the system then
hands out the pages of the next ones anew and zeroes them first, which takes longer than the
products of many small experts.
"""

import itertools
import math
import threading
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

_MOST = 2  # of a weight: a gradient, and that of the next batch of the same update
_LARGE = 2**16  # numbers; less than that, the allocator itself uses again
_PATIENCE = 1000  # requests, after which memory that none of them took is given back
_CLEANED = 100  # requests from one look for it to the next
_lock = threading.Lock()
_kept: WeakIdKeyDictionary = WeakIdKeyDictionary()
_activations: dict[tuple[int, torch.dtype], list["_Buffer"]] = {}
"""By the number of numbers and their type."""
_requests = itertools.count()


@dataclass(eq=False)
class _Buffer:
    memory: Tensor
    """``[N]``, where ``N`` is a power of two: what is never written takes no memory."""
    taken: int
    """The last request that it was for."""


def empty_activations(like: Tensor, *shape: int) -> Tensor:
    """Memory of that shape, and the type and device of ``like``, with anything in it.

    It was that of earlier activations if no tensor uses these any more.
    """
    numbers = math.prod(shape)
    if like.device.type != "cpu" or numbers < _LARGE or _uses is None:
        return like.new_empty(shape)
    size = 1 << (numbers - 1).bit_length()
    with _lock:
        now = next(_requests)
        buffers = _activations.setdefault((size, like.dtype), [])
        fit = [buffer for buffer in buffers if _unused(buffer.memory)]
        if fit:
            found = max(fit, key=lambda buffer: buffer.taken)
        else:
            with torch.inference_mode(False):  # it may be for a training later
                found = _Buffer(torch.empty(size, dtype=like.dtype), now)
            buffers.append(found)
        found.taken = now
        if now % _CLEANED == 0:
            for some in _activations.values():
                some[:] = [x for x in some if now - x.taken <= _PATIENCE or not _unused(x.memory)]
        # Not this view itself, which autograd would not let anybody change in place.
        x = found.memory[:numbers].view(shape)
        return like.new_empty(0).set_(x.untyped_storage(), 0, x.shape, x.stride())


def empty_gradient(weight: Tensor) -> Tensor:
    """Memory of the shape of ``weight``, with anything in it.

    It was that of an earlier gradient of the same weight if nothing uses that any more, neither
    ``weight.grad`` nor any other tensor. What is kept goes with the weight.
    """
    if weight.device.type != "cpu" or not weight.is_leaf or _uses is None:
        return torch.empty_like(weight)
    with _lock:
        buffers = _kept.setdefault(weight, [])
        buffers[:] = [buffer for buffer in buffers if _fits(buffer, weight.shape, weight.dtype)]
        for buffer in buffers:
            if _unused(buffer):
                return buffer.detach()
        if len(buffers) == _MOST:
            return torch.empty_like(weight)
        buffers.append(torch.empty_like(weight, requires_grad=False))
        return buffers[-1].detach()


def _unused(memory: Tensor) -> bool:
    """Whether no tensor but this one uses it."""
    return _uses is not None and _uses(memory) == _UNUSED


def _fits(buffer: Tensor, size: tuple[int, ...], dtype: torch.dtype) -> bool:
    return buffer.shape == size and buffer.dtype == dtype


def _storage_uses(tensor: Tensor) -> int:
    """How many tensors share the memory, and a constant."""
    return torch._C._storage_Use_Count(tensor.untyped_storage()._cdata)


# torch has no public way to ask; without this one, nothing is kept.
_uses = _storage_uses if hasattr(torch._C, "_storage_Use_Count") else None
_UNUSED = 0 if _uses is None else _uses(torch.empty(1))
