"""Float32 numbers as bfloat16 and remainder: all kinds of bits."""

import pytest
import torch
from torch import Tensor

from nmt_moe.optim.split import join, split_

# Zero, denormal, smallest, middle, largest finite, Inf; lower halves around the tie.
UPPER = [0, 1, 0x7F, 0x80, 0x3F80, 0x3F81, 0x7F7E, 0x7F7F]
LOWER = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF]
EDGES = [sign | high << 16 | low for sign in (0, 1 << 31) for high in UPPER for low in LOWER]
EDGES += [0x7F800000, 0xFF800000]


def numbers(bits: list[int]) -> Tensor:
    return torch.tensor(bits, dtype=torch.int64).to(torch.int32).view(torch.float32)


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    weight, remainder = torch.empty_like(x).bfloat16(), torch.empty_like(x).short()
    split_(x, weight, remainder)
    return weight, remainder


def same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


@pytest.mark.parametrize("random", [False, True])
def test_both_halves_are_the_number_and_the_first_the_nearest(random):
    torch.manual_seed(1)
    x = torch.randint(-(2**31), 2**31, (200_000,), dtype=torch.int32).view(torch.float32)
    x = x[~x.isnan()] if random else numbers(EDGES)
    weight, remainder = halves(x)
    assert same_bits(join(weight, remainder), x)
    tie = x.view(torch.int32) & 0xFFFF == 0x8000
    assert torch.equal(weight[~tie], x.bfloat16()[~tie]) and (random or tie.any())
    up = numbers([bits + 0x8000 for bits in EDGES if bits & 0xFFFF == 0x8000])
    assert random or torch.equal(weight[tie].float(), up)


def test_a_nan_stays_one():
    bits = [0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF]
    weight, remainder = halves(numbers(bits))
    assert weight.isnan().all() and join(weight, remainder).isnan().all()


def test_weights_that_somebody_else_has_set_are_near_what_they_were_set_to():
    """All that there are of bfloat16, beside remainders of other numbers."""
    weight = torch.arange(-(2**15), 2**15, dtype=torch.int32).short().view(torch.bfloat16)
    weight = weight[weight.isfinite()]
    for left in (-(2**15), -1, 1, 2**15 - 1):
        x = join(weight, torch.full_like(weight, left, dtype=torch.int16))
        assert x.isfinite().all()
        torch.testing.assert_close(x, weight.float(), rtol=2**-7, atol=2e-38)


def test_of_tensors_that_are_no_blocks_of_memory():
    torch.manual_seed(1)
    x = torch.randn(6, 5, 4).transpose(0, 2)[1:, ::2]
    weight = torch.empty(6, 3, 3, dtype=torch.bfloat16).permute(2, 1, 0)
    remainder = torch.empty(3, 6, 3, dtype=torch.int16).transpose(1, 2)
    split_(x, weight, remainder)
    assert same_bits(join(weight, remainder), x.contiguous())


def test_no_numbers():
    assert join(*halves(torch.empty(0, 3))).shape == (0, 3)


def test_small_steps_add_up():
    """In bfloat16 alone each of them would be rounded away."""
    x = torch.ones(3)
    weight, remainder = halves(x)
    for _ in range(1000):
        x -= 1e-5
        split_(join(weight, remainder) - 1e-5, weight, remainder)
    assert torch.equal(weight, x.bfloat16()) and (weight < 1).all()
