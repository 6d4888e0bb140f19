"""Weights of bfloat16 that an optimizer keeps exactly: with the 16 bits that rounding takes away.

A float32 number is a bfloat16, the upper half of its bits, plus what is left of the lower half: a
signed integer of 16 bits, if the bfloat16 is the nearest one, and of two that are equally near the
one away from zero. Both take the 4 bytes of the number itself, the model computes with the
bfloat16, and nothing that an update adds is lost. A NaN stays one, with other bits.
"""

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def join(weight: Tensor, remainder: Tensor) -> Tensor:
    """The float32 numbers of both halves, which :func:`split_` made.

    Args:
        weight: bfloat16. A zero that somebody else has put there stays zero or next to it: below
            zero its remainder would make it a NaN.
        remainder: int16, of the same shape.
    """
    below = torch.where(weight == 0, remainder.clamp_min(0), remainder)
    bits = weight.view(torch.int16).int().bitwise_left_shift_(16).add_(below)
    return bits.view(torch.float32)


def split_(x: Tensor, weight: Tensor, remainder: Tensor) -> None:
    """Put the halves of float32 numbers into a bfloat16 and an int16 tensor of their shape."""
    bits = x.view(torch.int32)
    upper = bits.add(0x8000).bitwise_right_shift_(16)
    weight.view(torch.int16).copy_(upper)
    remainder.copy_(bits - upper.bitwise_left_shift_(16))
    nan = x.isnan()
    weight.masked_fill_(nan, torch.nan)
    remainder.masked_fill_(nan, 0)


def full(weight: Tensor, remainder: Tensor | None) -> Tensor:
    """A weight as an update computes with it: half precision in float32."""
    if remainder is not None:
        return join(weight, remainder)
    return weight.float() if weight.dtype in HALF else weight


def keep_(x: Tensor, weight: Tensor, remainder: Tensor | None) -> None:
    """Put back what :func:`full` gave, if that was not the weight itself."""
    if remainder is not None:
        split_(x, weight, remainder)
    elif weight.dtype in HALF:
        weight.copy_(x)
