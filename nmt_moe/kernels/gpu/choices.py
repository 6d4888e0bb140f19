"""Which way the experts' products take on a GPU, where there are several: all of it in one place.

``NMT_MOE_GPU_WITHOUT`` leaves some of them out, for measurements: words with commas between them.
``own`` are the kernels in Triton, ``grouped_mm`` is torch's product, ``descriptors`` are loads by
the engine that GPUs have for them since 2022, ``large`` are tiles of 256 columns.
"""

import functools
import importlib.util
import os
from typing import NamedTuple

import torch
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.kernels.gpu import grouped_mm

HAS_TRITON = importlib.util.find_spec("triton") is not None
ROWS = 128  # of a tile
_WAYS = ("own", "grouped_mm", "descriptors", "large")


def _left_out(text: str) -> set[str]:
    words = set(filter(None, text.split(",")))
    if not words <= set(_WAYS):
        raise UserError(f"NMT_MOE_GPU_WITHOUT={text}: words can be {', '.join(_WAYS)}")
    return words


without = _left_out(os.environ.get("NMT_MOE_GPU_WITHOUT", ""))


class Card(NamedTuple):
    """What decides about tiles: of capability 8.0 and later, or Triton has no fast products.

    Args:
        capability: of the GPU, as in ``(9, 0)``.
        shared: bytes of shared memory that a program can have.
        processors: how many programs of large tiles run at once.
    """

    capability: tuple[int, int]
    shared: int
    processors: int


class Blocks(NamedTuple):
    """The sizes of a product's tiles, which have ``ROWS`` rows.

    Args:
        columns: of a tile.
        depth: how many terms of the sums are loaded at once.
        stages: how many of these loads are under way.
        warps: of 32 threads.
        persistent: each processor has one program, which goes from tile to tile.
    """

    columns: int
    depth: int
    stages: int
    warps: int
    persistent: bool = False

    def shared(self, size: int) -> int:
        """The most bytes of shared memory that this takes, with numbers of ``size`` bytes."""
        return self.stages * (ROWS + self.columns) * self.depth * size + 256  # barriers


_LARGE = [Blocks(256, 64, 3, 8, True), Blocks(256, 32, 3, 8, True)]
_SMALL = [Blocks(128, 64, 3, 4), Blocks(128, 32, 3, 4)]
_FLOAT32 = [Blocks(128, 16, 3, 8)]  # no tensor cores: a thread has 64 sums


@functools.cache
def card_of(device: torch.device) -> Card:
    """That of a tensor; without a GPU one that Triton's interpreter stands for."""
    if device.type != "cuda":
        return Card((8, 0), 163 * 1024, 3)
    found = torch.cuda.get_device_properties(device)
    shared = getattr(found, "shared_memory_per_block_optin", 48 * 1024)  # not on AMD's
    return Card((found.major, found.minor), shared, found.multi_processor_count)


def can_multiply(x_AD: Tensor, w_in: Tensor, w_out: Tensor) -> bool:
    """Whether :mod:`nmt_moe.kernels.gpu.feed_forward` can do with such rows and matrices."""
    return (
        HAS_TRITON
        and "own" not in without
        and x_AD.is_cuda
        and x_AD.dtype in (torch.bfloat16, torch.float16, torch.float32)
        and torch.cuda.get_device_capability(x_AD.device) >= (8, 0)
    )


def by_torch(x: Tensor, other: Tensor, groups: int) -> bool:
    """Whether torch's product is taken: in bfloat16 on GPUs of 2022 and later.

    Elsewhere its grouped product is a loop.
    """
    return (
        "grouped_mm" not in without
        and grouped_mm.available
        and x.is_cuda
        and x.dtype == torch.bfloat16
        and card_of(x.device).capability >= (9, 0)
        and 0 < groups <= grouped_mm.MOST
        and len(x) > 0
        and _aligned(x, other)
    )


def by_descriptors(x_AK: Tensor, w_EKN: Tensor) -> bool:
    """Whether a product loads by descriptors. They know the ends of a tensor, not of a matrix."""
    return (
        "descriptors" not in without
        and card_of(x_AK.device).capability >= (9, 0)
        and x_AK.element_size() == 2
        and all(size % 64 == 0 for size in w_EKN.shape[1:])
        and (w_EKN.is_contiguous() or w_EKN.transpose(1, 2).is_contiguous())
        and _aligned(x_AK, w_EKN)
    )


def blocks(tiles: int, columns: int, x: Tensor) -> Blocks:
    """The tiles' sizes for ``tiles`` times ``ROWS`` rows and so many columns.

    Large tiles read each number less often; with few of them some processors would have no work.
    """
    card, size = card_of(x.device), x.element_size()
    fit = _FLOAT32 if size == 4 else _SMALL
    enough = tiles * -(-columns // _LARGE[0].columns) >= 2 * card.processors
    if size == 2 and enough and "large" not in without:
        fit = _LARGE + fit
    return next(some for some in fit if some.shared(size) <= card.shared)


def _aligned(*tensors: Tensor) -> bool:
    """Whether rows or columns begin at multiples of 16 bytes."""
    return all(
        x.data_ptr() % 16 == 0
        and 1 in x.stride()[-2:]
        and all(step == 1 or step * x.element_size() % 16 == 0 for step in x.stride())
        for x in tensors
    )
