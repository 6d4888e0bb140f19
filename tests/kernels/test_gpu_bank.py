"""The kernel of a bank's logits against float64: on a GPU if there is one, else interpreted."""

import pytest
import torch
from torch import library

from tests.kernels.gpus import DEVICE, assert_close, gradients, in_float64, normal

# isort: split
from nmt_moe.kernels.gpu import bank
from nmt_moe.kernels.gpu.choices import ROWS
from nmt_moe.kernels.gpu.tokens import Assignments

T = 40
COUNTS = [5, 0, ROWS + 3, 1, 2 * ROWS, 0]


def inputs(dim: int, experts: int, dtype: torch.dtype, counts: list[int] = COUNTS):
    torch.manual_seed(1)
    token_R = torch.randint(0, T - 1, (sum(counts),)).to(DEVICE)  # the last token has none
    w_GDE = normal(len(counts), dim, experts, dtype=dtype).requires_grad_()
    x_TD = normal(T, dim, dtype=dtype).requires_grad_()
    return x_TD, w_GDE, token_R, torch.tensor(counts).to(DEVICE)


def loop(x_TD, w_GDE, token_R, counts: list[int]) -> torch.Tensor:
    parts = zip(token_R.split(counts), w_GDE, strict=True)
    return torch.cat([x_TD[token] @ w for token, w in parts])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sizes", [(40, 6), (64, 100)])
def test_each_row_meets_the_matrix_of_its_group(sizes, dtype):
    x_TD, w_GDE, token_R, counts_G = inputs(*sizes, dtype)
    out_RE = bank.product(x_TD, w_GDE, Assignments(token_R, T), counts_G)
    assert out_RE.dtype == torch.float32
    x, w = in_float64(x_TD, w_GDE)
    right_RE = loop(x, w, token_R, COUNTS)
    assert_close(out_RE, right_RE, 1e-6)
    found = gradients(out_RE, x_TD, w_GDE)
    assert [one.dtype for one in found] == [dtype, dtype]
    for one, right in zip(found, gradients(right_RE, x, w), strict=True):
        assert_close(one, right, 0.006 if dtype == torch.bfloat16 else 1e-6)
    assert not found[0][T - 1].any() and not found[1][1].any()


def test_tokens_in_half_precision_meet_weights_in_float32():
    x_TD, w_GDE, token_R, counts_G = inputs(40, 6, torch.float32, [3, 4])
    x_TD = x_TD.detach().bfloat16()
    out_RE = bank.product(x_TD, w_GDE, Assignments(token_R, T), counts_G)
    assert_close(out_RE, loop(*in_float64(x_TD, w_GDE), token_R, [3, 4]), 1e-6)


def test_rows_that_are_not_finite_stay_alone():
    x_TD, w_GDE, token_R, counts_G = inputs(40, 6, torch.float32, [5, 0, 7])
    token_R[:3] = torch.tensor([0, 1, 2])
    token_R[3:] = token_R[3:].clamp_min(3)
    x_TD = x_TD.detach()
    x_TD[0], x_TD[1], x_TD[2, 5] = torch.nan, torch.inf, -torch.inf
    out_RE = bank.product(x_TD, w_GDE.detach(), Assignments(token_R, T), counts_G)
    assert not out_RE[:3].isfinite().any()
    right_RE = loop(x_TD.double(), w_GDE.double(), token_R, [5, 0, 7])
    assert_close(out_RE[3:], right_RE[3:], 1e-6)


def test_strides_and_no_rows():
    x_TD, w_GDE, token_R, counts_G = inputs(40, 6, torch.float32, [3, 4])
    where = Assignments(token_R, T)
    right_RE = bank.product(x_TD, w_GDE, where, counts_G)
    strided = (x_TD.t().contiguous().t(), w_GDE.transpose(1, 2).contiguous().transpose(1, 2))
    assert torch.equal(bank.product(*strided, where, counts_G), right_RE)
    out_RE = bank.product(x_TD, w_GDE, Assignments(token_R[:0], T), counts_G * 0)
    assert out_RE.shape == (0, 6)
    assert not any(one.any() for one in gradients(out_RE, x_TD, w_GDE))


def test_the_operator_keeps_torchs_rules():
    x_TD, w_GDE, token_R, counts_G = inputs(16, 6, torch.float32, [3, 4])
    where = Assignments(token_R, T)
    places = (token_R, where.row_A, where.start_S, counts_G.cumsum(0).int())
    checks = ("test_schema", "test_faketensor", "test_autograd_registration")
    operator = torch.ops.nmt_moe.bank_product.default
    library.opcheck(operator, (x_TD, w_GDE, *places), test_utils=checks)
