"""The layer's kernels for GPUs against plain torch: see ``gpus.py`` for what they run on."""

import pytest
import torch
import torch.nn.functional as F
from torch import library

from tests.kernels.gpus import (
    DEVICE,
    assert_close,
    gradients,
    in_float64,
    needs_gpu,
    normal,
)

# isort: split
from nmt_moe.kernels.gpu import tokens
from nmt_moe.kernels.gpu.groups import group_sums
from nmt_moe.kernels.gpu.logits import logits
from nmt_moe.kernels.gpu.noisy import choose
from nmt_moe.moe import MixtureOfExperts, cv_squared
from nmt_moe.moe.balance import load_probability


@pytest.mark.parametrize("dim", [8, 40, 512])
def test_tokens_to_assignments_and_back(dim):
    torch.manual_seed(1)
    x_TD, gate_A = normal(9, dim).requires_grad_(), torch.rand(23).to(DEVICE).requires_grad_()
    token_A = torch.randint(0, 8, (23,)).to(DEVICE)  # the last token has none
    where = tokens.Assignments(token_A, len(x_TD))
    y_TD = tokens.combine(tokens.gather(x_TD, where).sin(), gate_A, where, torch.float32)
    x, gate = in_float64(x_TD, gate_A)
    right_TD = torch.zeros_like(x).index_add(0, token_A, gate[:, None] * x[token_A].sin())
    assert_close(y_TD, right_TD)
    assert not y_TD[8].any()
    for found, right in zip(
        gradients(y_TD, x_TD, gate_A), gradients(right_TD, x, gate), strict=True
    ):
        assert_close(found, right)


def test_group_sums():
    torch.manual_seed(1)
    group_A = torch.tensor([0] * 3000 + [2] * 5).to(DEVICE)
    x_A = torch.rand(len(group_A)).to(DEVICE).requires_grad_()
    ends_E = torch.tensor([3000, 3000, 3005, 3005]).to(DEVICE)
    sums_E = group_sums(x_A, group_A, ends_E)
    (x,) = in_float64(x_A)
    right_E = x.new_zeros(4).index_add(0, group_A, x)
    assert_close(sums_E, right_E)
    assert_close(*gradients(sums_E, x_A), *gradients(right_E, x))


@pytest.mark.parametrize("sizes", [(300, 6, 2), (50, 37, 4), (3, 8, 7), (5, 2000, 3)])
def test_noisy_choice_and_load(sizes):
    """Noise of any size: where softplus is all but 0 or its argument, too."""
    torch.manual_seed(1)
    num_tokens, experts, k = sizes
    both_TF, noise_TE = normal(num_tokens, 2 * experts), normal(num_tokens, experts)
    both_TF[:3, experts:] += torch.tensor([-18.0, -40, 25])[:, None].to(DEVICE)
    both_TF.requires_grad_()
    top_TK, index_TK, load_E = choose(both_TF, noise_TE, k)

    (both,) = in_float64(both_TF)
    clean, stddev = both[:, :experts], F.softplus(both[:, experts:])
    noisy = clean + noise_TE * stddev
    right_TK, right_index_TK = noisy.topk(k, dim=1)
    right_E = load_probability(clean, noisy, stddev, k).sum(0)
    assert torch.equal(index_TK, right_index_TK)
    assert_close(top_TK, right_TK)
    assert_close(load_E, right_E)
    found = torch.cat([top_TK.flatten(), load_E])
    right = torch.cat([right_TK.flatten(), right_E])
    assert_close(*gradients(found, both_TF), *gradients(right, both))


NAN, INF = float("nan"), float("inf")
# Of the first logits of a row; the others are small.
ODD = {
    "nan": [NAN] * 24,
    "-inf": [-INF] * 24,
    "one nan": [0, NAN],
    "last nan": [0] * 23 + [NAN],
    "nan and inf": [INF, 0, NAN, -INF],
    "one finite": [-INF] * 23 + [5],
    "negative nan": [0, -NAN, 1, -0.0],
    "equal": [0] * 24,
}


@pytest.mark.parametrize("k", [1, 2, 4, 23])
def test_noisy_choice_of_rows_that_are_not_finite(k):
    """With 24 experts of 32 columns: each choice is one of them, another one each time."""
    torch.manual_seed(1)
    clean_TE = torch.linspace(-2, -1, 24).repeat(len(ODD) + 1, 1)
    for row, odd in enumerate(ODD.values()):
        clean_TE[row, : len(odd)] = torch.tensor(odd)
    both_TF = torch.cat([clean_TE, torch.full_like(clean_TE, -60)], 1).to(DEVICE).requires_grad_()
    top_TK, index_TK, load_E = choose(both_TF, normal(*clean_TE.shape).clamp(-1, 1), k)
    gradients(torch.cat([top_TK.flatten(), load_E]), both_TF)  # reads at the same places
    assert 0 <= index_TK.min() and index_TK.max() < 24
    assert all(len(set(row)) == k for row in index_TK.tolist())
    right_TK = clean_TE.topk(k, dim=1).values
    torch.testing.assert_close(top_TK.detach().cpu(), right_TK, equal_nan=True)
    torch.testing.assert_close(clean_TE.gather(1, index_TK.cpu()), right_TK, equal_nan=True)


def test_the_operators_keep_torchs_rules():
    where = tokens.Assignments(torch.tensor([0, 2, 1, 2]).to(DEVICE), 3)
    places = (where.token_A, where.row_A, where.start_S)
    ends_E = torch.tensor([1, 4]).to(DEVICE)
    calls = {
        "sums_of_groups": (normal(4), torch.tensor([0, 1, 1, 1]).to(DEVICE), ends_E),
        "noisy_choice": (normal(5, 12), normal(5, 6), 2),
        "gather_tokens": (normal(3, 8), *places),
        "combine_tokens": (normal(4, 8), normal(4), *places, torch.float32),
    }
    for name, inputs in calls.items():
        checks = ("test_schema", "test_faketensor", "test_autograd_registration")
        library.opcheck(getattr(torch.ops.nmt_moe, name).default, inputs, test_utils=checks)


def test_no_rows():
    x_AD = normal(0, 64)
    nothing_A = torch.empty(0, dtype=torch.int64, device=DEVICE)
    where = tokens.Assignments(nothing_A, 0)
    assert tokens.combine(x_AD, normal(0), where, torch.float32).shape == (0, 64)
    assert choose(normal(0, 8), normal(0, 4), 2)[2].tolist() == [0] * 4


@needs_gpu
def test_logits_of_bfloat16_are_those_of_float32():
    torch.manual_seed(1)
    x_TD = normal(300, 64, dtype=torch.bfloat16).requires_grad_()
    w_DE = normal(64, 24, dtype=torch.bfloat16).requires_grad_()
    found_TE = logits(x_TD, w_DE)
    assert found_TE.dtype == torch.float32
    x, w = in_float64(x_TD, w_DE)
    assert_close(found_TE, x @ w, 1e-6)
    for found, right in zip(gradients(found_TE, x_TD, w_DE), gradients(x @ w, x, w), strict=True):
        assert_close(found, right, 0.003)  # they are bfloat16


def run(layer: MixtureOfExperts, x_TD: torch.Tensor) -> list[torch.Tensor]:
    """Output and gradients, those of the balance losses included."""
    torch.manual_seed(2)
    x_TD = x_TD.clone().requires_grad_()
    y_TD, routing = layer(x_TD)
    balance = cv_squared(routing.importance_E) + cv_squared(routing.load_E)
    loss = (y_TD.float() * torch.linspace(-1, 2, y_TD.numel(), device=DEVICE).view_as(y_TD)).sum()
    loss = loss + balance
    if routing.threshold_loss is not None:
        loss = loss + routing.threshold_loss
    return [y_TD, *torch.autograd.grad(loss, [x_TD, *layer.parameters()])]


LAYERS = [
    dict(k=2),
    dict(k=2, gating="top_k"),
    dict(k=2, gating="strictly_balanced"),
    dict(k=2, groups=4),
    dict(k=2, groups=4, gating="top_k"),
    dict(k=2, groups=4, gating="strictly_balanced"),
    dict(k=2, recompute=True),
]


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("options", LAYERS, ids=str)
def test_layer_is_that_of_float64(options, dtype):
    """With noise of next to nothing: other numbers are drawn in another type."""
    torch.manual_seed(1)
    layer = MixtureOfExperts(64, 128, 16, **options).to(DEVICE, dtype)
    x_TD = normal(500, 64, dtype=dtype)
    x_TD[:, 0] = 1
    for name, weight in layer.named_parameters():
        if "w_gate" in name:
            torch.nn.init.normal_(weight)
        if "w_noise" in name:
            weight.detach().select(-2, 0).fill_(-60)
    found = run(layer, x_TD)
    right = run(layer.double(), x_TD.double())
    for one, other in zip(found, right, strict=True):
        assert_close(one, other, 1e-4 if dtype == torch.float32 else 0.03)


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layer_gives_the_same_in_each_run(dtype):
    torch.manual_seed(1)
    layer = MixtureOfExperts(64, 128, 16, 2).to(DEVICE, dtype)
    x_TD = normal(5000, 64, dtype=dtype)
    first = run(layer, x_TD)
    for _ in range(5):
        assert all(map(torch.equal, first, run(layer, x_TD)))


@needs_gpu
@pytest.mark.parametrize(
    ("options", "dtype", "experts"),
    [(options, torch.bfloat16, 16) for options in [*LAYERS, dict(k=2, expert_dropout=0.2)]]
    + [(dict(k=2), dtype, 1500) for dtype in (torch.float32, torch.bfloat16, torch.float16)],
    ids=str,
)
def test_host_does_not_wait(options, dtype, experts):
    """Nothing asks the GPU for the sizes of the groups."""
    layer = MixtureOfExperts(64, 128, experts, **options).to(DEVICE, dtype)
    x_TD = normal(500, 64, dtype=dtype)
    weights = torch.linspace(-1, 2, x_TD.numel(), device=DEVICE).view_as(x_TD)

    def step() -> None:
        y_TD, routing = layer(x_TD)
        loss = (y_TD * weights).sum() + cv_squared(routing.importance_E)
        if routing.threshold_loss is not None:
            loss = loss + routing.threshold_loss
        (loss + cv_squared(routing.load_E)).backward()

    step()  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
