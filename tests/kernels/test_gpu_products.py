"""The experts' products for GPUs against float64: on a GPU, or in Triton's interpreter.

There products of float32 are exact, and bfloat16 has none.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import library

from tests.kernels.gpus import DEVICE, ON_GPU, gradients, normal

# isort: split
from nmt_moe.common.errors import UserError
from nmt_moe.kernels.gpu import choices, grouped_mm
from nmt_moe.kernels.gpu.feed_forward import feed_forward
from nmt_moe.kernels.gpu.products import product
from nmt_moe.kernels.gpu.tiles import ROWS, Tiles
from nmt_moe.kernels.gpu.weight_gradients import weight_gradients
from nmt_moe.moe.experts import Experts

ERRORS = {torch.float32: 1e-6, torch.float16: 5e-4, torch.bfloat16: 4e-3}  # of a rounded result
DTYPES = list(ERRORS) if ON_GPU else [torch.float32, torch.float16]
COUNTS = [5, 0, ROWS + 3, 1]
NAN, INF = float("nan"), float("inf")


@pytest.fixture(params=["small", "large", "descriptors"])
def way(request, monkeypatch):
    """How a product is done, whatever its size, where the card can."""
    if request.param == "descriptors":
        if ON_GPU and torch.cuda.get_device_capability() < (9, 0):
            pytest.skip("not on this card")
        monkeypatch.setattr(choices, "without", {"grouped_mm", "large"})
        monkeypatch.setattr("nmt_moe.kernels.gpu.products.by_descriptors", lambda *_: True)
        return request.param
    left_out = {"grouped_mm", "descriptors"}
    if request.param == "small":
        left_out.add("large")
    monkeypatch.setattr(choices, "without", left_out)
    monkeypatch.setattr("nmt_moe.kernels.gpu.products._GROUP", 2)  # of four tiles
    card = choices.card_of(torch.empty(0, device=DEVICE).device)
    monkeypatch.setattr(choices, "card_of", lambda device: card._replace(processors=0))
    return request.param


def ends_of(counts: list[int]) -> torch.Tensor:
    return torch.tensor(counts).to(DEVICE).cumsum(0, dtype=torch.int32)


def assert_close(found: torch.Tensor, right: torch.Tensor, error: float) -> None:
    assert found.shape == right.shape
    assert (found.double() - right).norm() <= error * right.norm()


def by_expert(x_AK: torch.Tensor, w_EKN: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """The products in float64."""
    parts = zip(x_AK.double().split(counts), w_EKN.double(), strict=True)
    return torch.cat([x @ w for x, w in parts])


@pytest.mark.parametrize("sizes", [(64, 192), (37, 261)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_products(dtype, sizes, way):
    """Of a part of the columns of wider rows, with matrices by rows and by columns."""
    torch.manual_seed(1)
    k, n = sizes
    if way == "descriptors" and (k % 64 or (dtype == torch.float32 and ON_GPU)):
        pytest.skip("never taken")
    rows, error = sum(COUNTS), ERRORS[dtype]
    tiles = Tiles(ends_of(COUNTS), rows)
    x_AK = normal(rows, 2 * k, dtype=dtype)[:, k:]
    w_EKN = normal(len(COUNTS), k, n, dtype=dtype) / k**0.5
    right_AN = by_expert(x_AK, w_EKN, COUNTS)
    assert choices.blocks(rows // ROWS, n, x_AK).columns == (
        256 if way == "large" and dtype != torch.float32 else 128
    )
    assert_close(product(x_AK, w_EKN, tiles), right_AN, error)

    stays_AN = torch.rand(rows, n).to(DEVICE) < 0.7
    hidden_AN = product(x_AK, w_EKN, tiles, True, stays_AN.view(torch.uint8), 1.25)
    assert_close(hidden_AN, right_AN.relu() * stays_AN * 1.25, error)

    w_ENK = normal(len(COUNTS), n, k, dtype=dtype) / k**0.5
    right_AN = by_expert(x_AK, w_ENK.transpose(1, 2), COUNTS) * (hidden_AN > 0) * 1.25
    found_AN = product(x_AK, w_ENK.transpose(1, 2), tiles, False, hidden_AN, 1.25)
    assert_close(found_AN, right_AN, error)


SPREADS = {"one": [0, 150, 0], "few": [1, 64, 65]}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("way", ["small", "large"], indirect=True)
def test_weight_gradients(dtype, spread, way):
    torch.manual_seed(1)
    counts, k, n = SPREADS[spread], 130, 261
    x_AK = normal(sum(counts), 2 * k, dtype=dtype)[:, k:]
    dy_AN = normal(sum(counts), n, dtype=dtype)
    found_EKN = weight_gradients(x_AK, dy_AN, ends_of(counts))
    parts = zip(x_AK.double().split(counts), dy_AN.double().split(counts), strict=True)
    assert_close(found_EKN, torch.stack([x.t() @ dy for x, dy in parts]), ERRORS[dtype])
    for count, dw in zip(counts, found_EKN, strict=True):
        assert count or not dw.any()


@pytest.mark.parametrize("experts", [37, pytest.param(1500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_many_experts(dtype, experts):
    """More than there are rows, and than torch's product allows."""
    torch.manual_seed(1)
    rows = experts // 2
    expert_A = torch.randint(0, experts, (rows,)).sort().values
    counts = expert_A.bincount(minlength=experts).tolist()
    expert_A, ends_E = expert_A.to(DEVICE), ends_of(counts)
    x_AK, dy_AN = normal(rows, 16, dtype=dtype), normal(rows, 16, dtype=dtype)
    w_EKN = normal(experts, 16, 16, dtype=dtype)
    right_AN = (x_AK.double()[:, None] @ w_EKN.double()[expert_A])[:, 0]
    assert_close(product(x_AK, w_EKN, Tiles(ends_E, rows)), right_AN, ERRORS[dtype])
    outer_AKN = x_AK.double()[:, :, None] * dy_AN.double()[:, None]
    right_EKN = torch.zeros_like(w_EKN.double()).index_add(0, expert_A, outer_AKN)
    assert_close(weight_gradients(x_AK, dy_AN, ends_E), right_EKN, ERRORS[dtype])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_and_weights_that_are_not_finite(dtype, way):
    """They reach what depends on them, and nothing else: neither other rows nor other experts."""
    torch.manual_seed(1)
    if way == "descriptors" and dtype == torch.float32 and ON_GPU:
        pytest.skip("never taken")
    rows, k, n = sum(COUNTS), 64, 128
    ends_E, x_AK = ends_of(COUNTS), normal(rows, k, dtype=dtype)
    x_AK[7], x_AK[20, 3] = NAN, INF  # of the third expert
    w_EKN, dy_AN = normal(len(COUNTS), k, n, dtype=dtype), normal(rows, n, dtype=dtype)
    w_EKN[0] = NAN
    dy_AN[rows - 1, 5] = NAN
    tiles = Tiles(ends_E, rows)
    found_AN = product(x_AK, w_EKN, tiles, True)
    right_AN = by_expert(x_AK, w_EKN, COUNTS).relu()
    torch.testing.assert_close(found_AN.isnan(), right_AN.isnan())
    torch.testing.assert_close(found_AN.isinf(), right_AN.isinf())
    assert right_AN.isnan().any(1).tolist() == [row in (*range(5), 7) for row in range(rows)]

    found_EKN = weight_gradients(x_AK, dy_AN, ends_E)
    parts = zip(x_AK.double().split(COUNTS), dy_AN.double().split(COUNTS), strict=True)
    right_EKN = torch.stack([x.t() @ dy for x, dy in parts])
    torch.testing.assert_close(found_EKN.isnan(), right_EKN.isnan())
    assert right_EKN.isnan().flatten(1).any(1).tolist() == [e in (2, 3) for e in range(4)]


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_what_float16_cannot_hold_is_infinite():
    x_AK, w_EKN = torch.full((2, 32), 100.0), torch.tensor([100.0, -100, 10]).repeat(1, 32, 1)
    x_AK, w_EKN = x_AK.to(DEVICE).half(), w_EKN.to(DEVICE).half()
    tiles = Tiles(ends_of([2]), 2)
    assert product(x_AK, w_EKN, tiles).tolist() == [[INF, -INF, 32000]] * 2
    assert product(x_AK, w_EKN, tiles, True).tolist() == [[INF, 0, 32000]] * 2


@pytest.mark.parametrize("torchs", [False, True])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("keep_hidden", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_feed_forward(dtype, keep_hidden, dropout, torchs, monkeypatch):
    torch.manual_seed(1)
    if torchs and not (
        grouped_mm.runs_on(DEVICE) and dtype == (torch.bfloat16 if ON_GPU else torch.float32)
    ):
        pytest.skip("not in this torch")
    monkeypatch.setattr(choices, "by_torch", lambda *_: torchs)
    counts, width = [5, 0, ROWS + 3, 1], (48, 80)
    x_AD = normal(sum(counts), 48, dtype=dtype).requires_grad_()
    w_in = (normal(4, *width, dtype=dtype) / 8).requires_grad_()
    w_out = (normal(4, *width[::-1], dtype=dtype) / 8).requires_grad_()
    stays_AH = torch.rand(sum(counts), 80).to(DEVICE) < 0.7 if dropout else None
    scale = 1.25 if dropout else 1.0
    y_AD = feed_forward(x_AD, w_in, w_out, ends_of(counts), keep_hidden, stays_AH, scale)

    x, first, second = (each.detach().double().requires_grad_() for each in (x_AD, w_in, w_out))
    hidden = torch.cat([(rows @ a).relu() for rows, a in zip(x.split(counts), first, strict=True)])
    if stays_AH is not None:
        hidden = hidden * stays_AH * scale
    right_AD = torch.cat([h @ b for h, b in zip(hidden.split(counts), second, strict=True)])
    error = 3 * ERRORS[dtype]
    assert_close(y_AD, right_AD, error)
    for found, right in zip(
        gradients(y_AD, x_AD, w_in, w_out), gradients(right_AD, x, first, second), strict=True
    ):
        assert_close(found, right, 3 * error)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("dropout", [0, 0.3])
def test_experts_are_those_of_the_loop(dropout, recompute, monkeypatch):
    counts = torch.tensor([3, 0, 7]).to(DEVICE)
    layer, x_AD = Experts(3, 16, 40, recompute, dropout=dropout).to(DEVICE), normal(10, 16)
    results = []
    for own in (False, True):
        monkeypatch.setattr(choices, "can_multiply", lambda *_, own=own: own)
        torch.manual_seed(2)
        x = x_AD.clone().requires_grad_()
        y_AD = layer(x, counts)
        results.append([y_AD, *gradients(y_AD, x, *layer.parameters())])
    for one, other in zip(*results, strict=True):
        assert_close(one, other.double(), 1e-5)


def test_who_takes_them():
    x_AD, w = normal(8, 16), normal(2, 16, 16)
    assert choices.can_multiply(x_AD, w, w) == (
        ON_GPU and torch.cuda.get_device_capability() >= (8, 0)
    )
    assert not choices.can_multiply(x_AD.cpu(), w, w)
    assert not choices.can_multiply(x_AD.double(), w, w)


def test_the_operator_keeps_torchs_rules():
    dtype = torch.bfloat16 if ON_GPU else torch.float32
    x_AD, w = normal(4, 16, dtype=dtype), normal(2, 16, 16, dtype=dtype)
    inputs = (x_AD, w, w, ends_of([1, 3]), True, x_AD > 0, 1.5)
    checks = ("test_schema", "test_faketensor", "test_autograd_registration")
    library.opcheck(torch.ops.nmt_moe.gpu_experts_forward.default, inputs, test_utils=checks)


def test_no_rows():
    ends_E = ends_of([0, 0, 0])
    x_AD, w = normal(0, 16).requires_grad_(), normal(3, 16, 16).requires_grad_()
    y_AD = feed_forward(x_AD, w, w, ends_E, True)
    y_AD.sum().backward()
    assert y_AD.shape == (0, 16) and not w.grad.any()


# Of A100, RTX 30 and 40, H100 and H200: bytes of shared memory that a program can have.
SHARED = {80: 163 * 1024, 86: 99 * 1024, 90: 227 * 1024}


@pytest.mark.parametrize("capability", SHARED)
def test_sizes_of_tiles(capability, monkeypatch):
    card = choices.Card(divmod(capability, 10), SHARED[capability], 100)
    monkeypatch.setattr(choices, "card_of", lambda device: card)
    single, half = torch.empty(1), torch.empty(1).half()
    for tiles, x, columns, depth in (
        (49, half, 128, 64),
        (50, half, 256, 32 if capability == 86 else 64),
        (50, single, 128, 16),
    ):
        found = choices.blocks(tiles, 1000, x)  # four blocks of columns
        assert found[:2] == (columns, depth) and found.persistent == (columns == 256)
        assert found.shared(x.element_size()) <= card.shared
    monkeypatch.setattr(choices, "without", {"large"})
    assert choices.blocks(50, 1000, half).columns == 128


@pytest.mark.slow
@pytest.mark.parametrize("capability", SHARED)
def test_kernels_compile_and_fit(capability, tmp_path):
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.kernels.compiled_products"]
    done = subprocess.run(
        [*command, str(capability), str(SHARED[capability])],
        env=env | {"TRITON_CACHE_DIR": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    found = [line.split() for line in done.stdout.splitlines()]
    assert {line[0] for line in found} == {"_find_tiles", "_product", "_weight_gradients"}
    for *what, shared, computed in found:
        assert int(shared) <= int(computed) <= SHARED[capability], what


def test_ways_can_be_left_out():
    assert choices._left_out("") == set()
    assert choices._left_out("large,own") == {"large", "own"}
    with pytest.raises(UserError, match="NMT_MOE_GPU_WITHOUT=small: words can be own, grouped_mm"):
        choices._left_out("small")
