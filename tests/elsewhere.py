"""A device that is not the CPU: operations on tensors of both are refused, as on a GPU.

Its numbers lie on the CPU all the same. It shows which devices meet, where there is no GPU.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")  # whose own tensors have no numbers


class _There(Tensor):
    """Holds its numbers as ``here``."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> "_There":
        size = {"dtype": here.dtype, "device": DEVICE, "strides": here.stride()}
        there = Tensor._make_wrapper_subclass(cls, here.shape, **size)  # type: ignore[attr-defined]
        there.here = here
        return there

    def tolist(self) -> Any:
        return self.here.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with Elsewhere():
            return func(*args, **(kwargs or {}))


class Elsewhere(TorchDispatchMode):
    """Within it ``DEVICE`` can be used."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        there = [x for x in tensors if isinstance(x, _There)]
        # A single number of the CPU may meet any device.
        if there and any(x.dim() for x in tensors if not isinstance(x, _There)):
            raise RuntimeError(f"{func} of tensors on cpu and {DEVICE}")
        device = kwargs.get("device")
        goes_there = bool(there) if device is None else torch.device(device) == DEVICE
        if device is not None:
            kwargs = kwargs | {"device": "cpu"}
        inner = tree_map(lambda x: x.here if isinstance(x, _There) else x, (args, kwargs))
        found = func(*inner[0], **inner[1])
        if inner[0] and found is inner[0][0]:  # in place
            return args[0]
        return tree_map(lambda x: _There(x) if goes_there and isinstance(x, Tensor) else x, found)
