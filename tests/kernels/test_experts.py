"""The experts' products in C against float64, on each kind of instructions that is here."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt_moe.kernels.cpu import bfloat16
from nmt_moe.kernels.cpu import experts as kernel
from nmt_moe.moe.experts import Experts
from tests.compiled import skip_unless_compiled

skip_unless_compiled()

MANY = kernel._FEW_BACKWARD + 1


def experts_and_rows(counts: list[int], dim: int, hidden_dim: int, **options):
    torch.manual_seed(sum(counts))
    experts = Experts(len(counts), dim, hidden_dim, **options)
    x_AD, dy_AD = torch.randn(sum(counts), dim), torch.randn(sum(counts), dim)
    # The gradient jumps where a hidden number is 0, which rounding must not decide.
    while len(near := near_zero(experts, x_AD, counts)):
        x_AD[near] = torch.randn(len(near), dim)
    return experts, x_AD, dy_AD


def near_zero(experts: Experts, x_AD, counts: list[int]):
    """The rows with a hidden number that rounding could take to the other side of 0."""
    w_in = experts.w_in.detach().double()
    hidden = [rows.double() @ w_in[e] for e, rows in enumerate(x_AD.split(counts))]
    return (torch.cat(hidden).abs().amin(1) < 1e-6).nonzero().squeeze(1)


def step(experts: Experts, x_AD, dy_AD, counts: list[int]) -> list:
    """The output and the gradients of rows, w_in and w_out."""
    x_AD = x_AD.clone().requires_grad_()
    y_AD = experts(x_AD, torch.tensor(counts))
    return [y_AD, *torch.autograd.grad(y_AD, [x_AD, experts.w_in, experts.w_out], dy_AD)]


def in_float64(experts: Experts, x_AD, dy_AD, counts: list[int], factor_AH=None) -> list:
    """The same by autograd, hidden activations being multiplied by factors."""
    w_in, w_out = (w.detach().double().requires_grad_() for w in (experts.w_in, experts.w_out))
    x_AD = x_AD.double().requires_grad_()
    if factor_AH is None:
        factor_AH = torch.ones(len(x_AD), w_in.shape[2])
    groups = enumerate(zip(x_AD.split(counts), factor_AH.split(counts), strict=True))
    parts = [((rows @ w_in[e]).relu() * by) @ w_out[e] for e, (rows, by) in groups if len(rows)]
    y_AD = torch.cat(parts)
    return [y_AD, *torch.autograd.grad(y_AD, [x_AD, w_in, w_out], dy_AD.double())]


def assert_close(found: list, right: list) -> None:
    for a, b in zip(found, right, strict=True):
        assert (a - b).abs().max() < 1e-5 * max(1, b.abs().max())


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("dim, hidden_dim", [(16, 16), (48, 80), (64, 160), (1024, 32)])
def test_every_number_of_rows(instructions, dim, hidden_dim, recompute):
    counts = [*range(35), 47, 48, 49, 64, 96, MANY, 0, MANY + 30, 3]
    assert kernel.groups_for(counts, torch.empty(1, dim), torch.empty(1, dim, hidden_dim))
    experts, *rows = experts_and_rows(counts, dim, hidden_dim, recompute=recompute)
    assert_close(step(experts, *rows, counts), in_float64(experts, *rows, counts))


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("dim, hidden_dim", [(48, 80), (40, 24)])
def test_dropout_of_hidden_activations(instructions, dim, hidden_dim, recompute, narrow):
    counts = [3, 0, 40, MANY + 5, 17]
    if narrow and not bfloat16.in_c():
        pytest.skip("no bfloat16 here")
    experts, *rows = experts_and_rows(counts, dim, hidden_dim, recompute=recompute, dropout=0.3)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        found = step(experts, *rows, counts)
    torch.manual_seed(1)
    stays_AH = torch.rand(sum(counts), hidden_dim) >= 0.3
    assert 0.6 < stays_AH.double().mean() < 0.8
    right = in_float64(experts, *rows, counts, stays_AH / 0.7)
    for a, b in zip(found, right, strict=True):  # rounding moves a few over the jump of the ReLU
        assert (a - b).norm() < (6e-2 if narrow else 1e-5) * b.norm()
    assert_close(step(experts.eval(), *rows, counts), in_float64(experts, *rows, counts))


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 20) | st.integers(MANY, MANY + 9), min_size=1, max_size=9).filter(any),
    st.integers(1, 5),
    st.integers(1, 9),
)
def test_groups_of_any_sizes(counts, dim, hidden_dim):
    experts, *rows = experts_and_rows(counts, 16 * dim, 16 * hidden_dim)
    assert_close(step(experts, *rows, counts), in_float64(experts, *rows, counts))


@pytest.mark.parametrize("layout", ["transposed", "expanded", "every other"])
def test_gradients_that_are_not_laid_out_row_by_row(layout):
    """As those of a transposed output, or of a sum."""
    counts = [5, 0, 40, MANY]
    experts, x_AD, dy_AD = experts_and_rows(counts, 16, 32)
    if layout == "transposed":
        dy_AD = dy_AD.t().contiguous().t()
    elif layout == "expanded":
        dy_AD = dy_AD[:1, :1].expand_as(dy_AD)
    else:
        dy_AD = dy_AD.repeat_interleave(2, dim=1)[:, ::2]
    assert not dy_AD.is_contiguous()
    assert_close(step(experts, x_AD, dy_AD, counts), in_float64(experts, x_AD, dy_AD, counts))


def test_threads_and_other_experts_change_nothing():
    counts = [5, 0, 40, MANY, 96, MANY, 17]
    experts, x_AD, dy_AD = experts_and_rows(counts, 32, 64)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        together = step(experts, x_AD, dy_AD, counts)
        torch.set_num_threads(1)
        for found, again in zip(together, step(experts, x_AD, dy_AD, counts), strict=True):
            assert torch.equal(found, again)
    finally:
        torch.set_num_threads(threads)
    first = counts[0]
    alone = step(experts, x_AD[:first], dy_AD[:first], [first, *[0] * 6])
    assert torch.equal(alone[0], together[0][:first]) and torch.equal(alone[1], together[1][:first])
    assert torch.equal(alone[2][0], together[2][0]) and not alone[2][1:].any()


def test_only_its_own_rows_are_written():
    counts = [3, 33, 7]
    experts, x_AD, _ = experts_and_rows(counts, 16, 32)
    weights = [w.detach() for w in (experts.w_in, experts.w_out)]
    y_AD, hidden_AH = torch.full((43, 16), 7.0), torch.full((43, 32), 7.0)
    groups = kernel.groups_for(counts, x_AD, *weights)
    assert groups == [(1, 3, 33), (2, 36, 7), (0, 0, 3)]
    kernel.forward(groups[:1], x_AD, *weights, hidden_AH, y_AD)
    for written in (y_AD, hidden_AH):
        others = torch.cat([written[:3], written[36:]])
        assert (others == 7).all() and (written[3:36] != 7).any(1).all()


@pytest.mark.parametrize("count", [4, MANY])
def test_what_is_no_number_stays(instructions, count):
    counts = [count, 2]
    experts, x_AD, dy_AD = experts_and_rows(counts, 16, 16)
    x_AD[1, 3] = torch.nan
    y_AD, dx_AD, dw_in, _ = step(experts, x_AD, dy_AD, counts)
    assert y_AD[1].isnan().all() and dx_AD[1].isfinite().all() and dw_in[0].isnan().any()
    others = [row for row in range(sum(counts)) if row != 1]
    assert y_AD[others].isfinite().all() and dx_AD[others].isfinite().all()


def test_what_is_left_to_torch():
    x_AD, w = torch.empty(4, 32), torch.empty(3, 32, 48)
    assert kernel.groups_for([1, 0, 3], x_AD, w, w) == [(2, 1, 3), (0, 0, 1)]
    left = [
        (x_AD.double(), w.double(), w.double()),
        (x_AD.bfloat16(), w.bfloat16(), w.bfloat16()),
        (x_AD, w.transpose(1, 2), w),
        (x_AD, torch.empty(3, 32, 40), w),
        (torch.empty(32, 4).t(), w, w),
        (x_AD.to("meta"), w.to("meta"), w.to("meta")),
    ]
    for tensors in left:
        assert kernel.groups_for([1, 0, 3], *tensors) == []
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)  # which torch can share a single product of many rows among
        assert kernel.groups_for([MANY, 5], x_AD, w, w) == [(1, MANY, 5)]
    finally:
        torch.set_num_threads(threads)


@pytest.mark.skipif(not bfloat16.in_c(), reason="this processor has no products in bfloat16")
@pytest.mark.parametrize("threads, counts", [(1, [40, 0, 3, 130]), (2, [70, 0, 0, 0])])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("dim, hidden_dim", [(32, 48), (19, 37)])
def test_gradients_of_weights_in_bfloat16(threads, counts, recompute, dim, hidden_dim):
    """Summed in float32 and rounded once, whichever way they are computed."""
    experts, x_AD, dy_AD = experts_and_rows(counts, dim, hidden_dim, recompute=recompute)
    experts, x_AD, dy_AD = experts.bfloat16(), x_AD.bfloat16(), dy_AD.bfloat16()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = step(experts, x_AD, dy_AD, counts)
    finally:
        torch.set_num_threads(before)
    right = in_float64(experts, x_AD, dy_AD, counts)
    for one, other in zip(found, right, strict=True):
        assert one.dtype == torch.bfloat16
        assert (one - other).norm() < 0.01 * other.norm()
    assert not found[2][1].any() and not found[3][1].any()
