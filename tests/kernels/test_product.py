"""Products of our own in float32 and bfloat16, against float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.kernels.cpu import bfloat16, product
from nmt_moe.kernels.cpu.extension import library
from nmt_moe.models.linear import linear
from tests.compiled import skip_unless_compiled

skip_unless_compiled()
if not library.products_instructions():
    pytest.skip("products.c needs AVX-512", allow_module_level=True)

SIZES = st.sampled_from([1, 2, 3, 13, 14, 15, 16, 29, 31, 32, 33, 64, 100, 255, 257, 515])
PRECISIONS = [product.FLOAT32] + [product.BFLOAT16] * bfloat16.in_c()
TYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "_SMALL", 0)
    monkeypatch.setattr(product, "usable", lambda _: True)


def rounded(x: Tensor, how: int) -> Tensor:
    """What a product reads, in float64."""
    return (x.bfloat16() if how == product.BFLOAT16 else x).double()


def right(a_MK: Tensor, b_KN: Tensor, how: int, add: Tensor | None = None) -> Tensor:
    y_MN = rounded(a_MK, how) @ rounded(b_KN, how)
    return y_MN if add is None else y_MN + add


@settings(max_examples=150, deadline=None)
@given(
    SIZES,
    SIZES,
    SIZES,
    st.booleans(),
    st.booleans(),
    st.sampled_from(TYPES),
    st.sampled_from(TYPES),
    st.sampled_from(PRECISIONS),
    st.sampled_from(["none", "row", "matrix", "out"]),
)
def test_every_shape_and_layout(m, n, k, a_turned, b_turned, a_type, b_type, how, kind):
    torch.manual_seed(m * n + k)
    a_MK = (torch.randn(k, m).t() if a_turned else torch.randn(m, k)).to(a_type)
    b_KN = (torch.randn(n, k).t() if b_turned else torch.randn(k, n)).to(b_type)
    whole = torch.full((m + 2, n + 3), 7.0)
    out = whole[1:-1, 1:-2]
    add = {"none": None, "row": torch.randn(n), "matrix": torch.randn(m, n), "out": out}[kind]
    expected = right(a_MK, b_KN, how, add)
    assert product.mm(a_MK, b_KN, how, add, out) is out
    assert (out - expected).abs().max() < 2e-6 * k**0.5 * (1 + expected.abs().max())
    out.fill_(7)
    assert (whole == 7).all()  # nothing else was written


@pytest.mark.parametrize("how", PRECISIONS)
def test_a_number_depends_on_its_row_and_column_alone(how):
    """Not on the other rows, on the threads, or on where a tile of the result ends."""
    torch.manual_seed(1)
    a_MK, b_KN = torch.randn(1200, 700), torch.randn(700, 1100)
    whole = product.mm(a_MK, b_KN, how)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2))
        assert torch.equal(product.mm(a_MK, b_KN, how), whole)
    finally:
        torch.set_num_threads(threads)
    for rows, columns in [(slice(5, 6), slice(64, 96)), (slice(500, 820), slice(3, 1000))]:
        assert torch.equal(product.mm(a_MK[rows], b_KN[:, columns], how), whole[rows, columns])


@pytest.mark.parametrize("how", PRECISIONS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_in_its_row_and_column(how, value):
    a_MK, b_KN = torch.ones(40, 70), torch.ones(70, 50)
    a_MK[3, 5] = value
    found = product.mm(a_MK, b_KN, how)
    assert not found[3].isfinite().any() and found.isfinite().sum() == 39 * 50
    a_MK[3, 5], b_KN[69, 7] = 1, value
    found = product.mm(a_MK, b_KN, how)
    assert not found[:, 7].isfinite().any() and found.isfinite().sum() == 40 * 49


@pytest.mark.parametrize("how", PRECISIONS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_the_gradients_of_a_linear_layer(how, dtype, with_bias):
    torch.manual_seed(0)
    x = torch.randn(3, 11, 35).to(dtype).requires_grad_()
    weight = torch.randn(70, 35).to(dtype).requires_grad_()
    bias = torch.randn(70).to(dtype).requires_grad_() if with_bias else None
    inputs = [x, weight] + [bias] * with_bias
    factor = torch.randn(3, 11, 70)
    if how == product.FLOAT32 and dtype == torch.bfloat16:
        how = product.BFLOAT16  # what such tensors get
    with torch.autocast("cpu", torch.bfloat16, enabled=how == product.BFLOAT16):
        y = linear(x, weight, bias, wide=True)
    assert y.dtype == torch.float32
    found = [y, *torch.autograd.grad((y * factor).sum(), inputs)]
    wide = [v.detach().double().requires_grad_() for v in inputs]
    z = torch.nn.functional.linear(*wide)
    expected = [z, *torch.autograd.grad((z * factor).sum(), wide)]
    limit = 1e-5 if how == product.FLOAT32 else 2e-2
    for a, b in zip(found, expected, strict=True):
        assert (a.double() - b).abs().max() < limit * b.abs().max()
    assert [g.dtype for g in found[1:]] == [dtype] * len(inputs)


def test_a_wrong_environment_variable_is_said(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("NMT_MOE_PRODUCTS", "fast")
    product.usable.cache_clear()
    try:
        with pytest.raises(UserError, match="own or torch"):
            product.usable()
    finally:
        product.usable.cache_clear()


def test_the_environment_decides(monkeypatch):
    monkeypatch.undo()
    try:
        for value, wanted in [("own", True), ("torch", False)]:
            monkeypatch.setenv("NMT_MOE_PRODUCTS", value)
            product.usable.cache_clear()
            assert product.usable() is wanted
    finally:
        product.usable.cache_clear()


def test_an_instruction_that_ends_a_process_is_found_out_in_another(monkeypatch):
    end = "import os, sys; os.kill(os.getpid(), 4) if int(sys.argv[2]) > {} else 0"  # SIGILL
    best = bfloat16.instructions()
    try:
        for most in range(best + 1):
            monkeypatch.setattr(bfloat16, "_TRIAL", end.format(most))
            bfloat16.instructions.cache_clear()
            assert bfloat16.instructions() == (most if most >= bfloat16.AVX512_BF16 else 0)
            assert bfloat16.in_c() == (most >= bfloat16.AVX512_BF16)
    finally:
        monkeypatch.undo()
        bfloat16.instructions.cache_clear()
        assert bfloat16.instructions() == best
