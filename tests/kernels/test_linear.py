"""The product of few rows with one matrix, in C, against float64."""

import pytest
import torch

from nmt_moe.kernels.cpu import linear as kernel
from nmt_moe.models.linear import apply
from tests.compiled import skip_unless_compiled

skip_unless_compiled()

ROWS = [2, 3, 4, 7, 8, 9, 16, 17, 25, 33, 48, 65, kernel._FEW]


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_LARGE", 0)
    monkeypatch.setattr(kernel, "_SMALL", 0)


@pytest.mark.parametrize("dim_in, dim_out", [(16, 16), (48, 37), (80, 129), (2048, 300), (64, 5)])
def test_every_number_of_rows(instructions, dim_in, dim_out):
    torch.manual_seed(dim_out)
    w_NK = torch.randn(dim_out, dim_in)
    for rows in ROWS:
        x_MK, add_MN = torch.randn(rows, dim_in), torch.randn(rows, dim_out)
        assert kernel.few_rows(x_MK, w_NK)
        right = x_MK.double() @ w_NK.double().t()
        error = 1e-5 * right.abs().max()
        assert (kernel.linear(x_MK, w_NK) - right).abs().max() < error
        assert (kernel.linear(x_MK, w_NK, add_MN) - right - add_MN).abs().max() < error
        out = add_MN.clone()
        assert kernel.linear(x_MK, w_NK, out, out=out) is out
        assert (out - right - add_MN).abs().max() < error


def test_rows_that_are_parts_of_longer_ones(instructions):
    torch.manual_seed(1)
    w_NK, long = torch.randn(40, 32), torch.randn(9, 100)
    right = long[:, 16:48].double() @ w_NK.double().t()
    before = long.clone()
    kernel.linear(long[:, 16:48], w_NK, out=long[:, 60:])
    assert (long[:, 60:] - right).abs().max() < 1e-4
    assert torch.equal(long[:, :60], before[:, :60])


def test_a_row_does_not_depend_on_the_others_or_the_threads(instructions):
    torch.manual_seed(1)
    w_NK, x_MK = torch.randn(300, 512), torch.randn(100, 512)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(kernel.linear(x_MK, w_NK))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)
    for first, rows in [(0, 2), (3, 8), (50, 33)]:
        part = slice(first, first + rows)
        assert torch.equal(kernel.linear(x_MK[part], w_NK), found[0][part])


def test_what_is_left_to_torch():
    w_NK, x_MK = torch.randn(32, 64), torch.randn(4, 64)
    assert kernel.few_rows(x_MK, w_NK)
    for x, w in [
        (x_MK.double(), w_NK.double()),
        (x_MK[:1], w_NK),
        (torch.randn(kernel._FEW + 1, 64), w_NK),
        (x_MK[:, :60].contiguous(), w_NK[:, :60].contiguous()),
        (x_MK, torch.randn(64, 32).t()),
        (torch.randn(64, 4).t(), w_NK),
    ]:
        assert not kernel.few_rows(x, w)
        torch.testing.assert_close(kernel.linear(x, w), x @ w.t())


def test_sizes_that_do_not_fit_are_torchs_error():
    w_NK, x_MK = torch.randn(32, 64), torch.randn(4, 64)
    with torch.no_grad(), pytest.raises(RuntimeError, match="cannot be multiplied"):
        apply(torch.nn.Linear(64, 32), torch.randn(4, 48))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        kernel.linear(torch.randn(4, 80), w_NK)
    with pytest.raises(RuntimeError):
        kernel.linear(x_MK, w_NK, torch.randn(3, 32))


@pytest.mark.parametrize("bias", [False, True])
def test_the_layer_is_torchs(bias, monkeypatch):
    torch.manual_seed(1)
    layer, x = torch.nn.Linear(64, 50, bias=bias), torch.randn(3, 5, 64)
    right = torch.nn.functional.linear(x, layer.weight, layer.bias)
    calls = []
    monkeypatch.setattr(
        kernel, "linear", lambda *a, call=kernel.linear: calls.append(1) or call(*a)
    )
    assert torch.equal(apply(layer, x), right) and not calls  # with gradients, torch's
    with torch.no_grad():
        torch.testing.assert_close(apply(layer, x), right)
    assert calls
