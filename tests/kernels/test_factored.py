"""The factored update in C against the same with torch's operations."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt_moe.kernels.cpu import factored as kernel
from nmt_moe.optim.factored import factored_update_
from tests.compiled import skip_unless_compiled

skip_unless_compiled()


def updated(in_c: bool, experts: int, rows: int, columns: int, unused: int, **options) -> list:
    """Parameters and state after three updates."""
    chance = torch.Generator().manual_seed(rows * columns)
    param = torch.randn(experts, rows, columns, generator=chance)
    state = [torch.zeros(experts, rows), torch.zeros(experts, columns), torch.zeros(experts)]
    for update in range(3):
        grad = torch.randn(experts, rows, columns, generator=chance) * 10.0**-update
        grad[unused:] = 0
        if not in_c:  # not contiguous, so torch's
            grad = grad.transpose(1, 2).contiguous().transpose(1, 2)
        assert kernel.usable(param, grad) == in_c
        factored_update_(param, grad, *state, lr=0.1, beta2=0.9, eps=1e-8, **options)
    return [param, *state]


@settings(max_examples=40)
@given(
    experts=st.integers(1, 5),
    rows=st.integers(2, 70),
    columns=st.integers(2, 70),
    data=st.data(),
    weight_decay=st.sampled_from([0.0, 0.3]),
    update_unused=st.booleans(),
)
def test_it_is_that_of_torch(experts, rows, columns, data, weight_decay, update_unused):
    sizes = experts, rows, columns, data.draw(st.integers(0, experts), label="unused from")
    options = {"weight_decay": weight_decay, "update_unused": update_unused}
    for found, right in zip(
        updated(True, *sizes, **options), updated(False, *sizes, **options), strict=True
    ):
        torch.testing.assert_close(found, right, rtol=2e-5, atol=1e-6)


def test_threads_change_nothing():
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            options = {"weight_decay": 0.1, "update_unused": False}
            found.append(updated(True, 4, 33, 65, 3, **options))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_what_is_left_to_torch():
    x = torch.empty(2, 3, 4)
    assert kernel.usable(x)
    for other in (x.double(), x.bfloat16(), x.transpose(1, 2), x.to("meta")):
        assert not kernel.usable(x, other)
