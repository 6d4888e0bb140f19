"""The layer against a naive loop, and its behaviour at the edges."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt_moe.common.errors import UserError
from nmt_moe.moe import MixtureOfExperts
from tests.moe.reference import naive_load, naive_mixture, naive_top_k

D, H = 6, 5


def make_layer(experts: int, k: int, **options) -> MixtureOfExperts:
    """A float64 layer whose gates are not at their initial zeros."""
    layer = MixtureOfExperts(D, H, experts, k, **options).double()
    with torch.no_grad():
        for parameter in layer.gate.parameters():
            parameter.normal_(std=0.5)
    return layer


def noisy_logits(layer: MixtureOfExperts, x_TD, seed: int):
    """What the gate computes in training from this seed: clean, noisy, stddev."""
    torch.manual_seed(seed)
    clean_TE = x_TD @ layer.gate.w_gate
    stddev_TE = torch.log1p(torch.exp(x_TD @ layer.gate.w_noise))
    return clean_TE, clean_TE + torch.randn_like(clean_TE) * stddev_TE, stddev_TE


def gradients(loss, layer, x_TD):
    return torch.autograd.grad(loss, [x_TD, *layer.parameters()], allow_unused=True)


@settings(max_examples=40)
@given(
    experts=st.integers(1, 7), data=st.data(), tokens=st.integers(1, 9), seed=st.integers(0, 999)
)
def test_output_and_every_gradient_equal_a_naive_loop(experts, data, tokens, seed):
    k = data.draw(st.integers(1, experts), label="k")
    torch.manual_seed(seed)
    layer = make_layer(experts, k)
    x_TD = torch.randn(tokens, D, dtype=torch.double, requires_grad=True)
    weights_TD = torch.randn(tokens, D, dtype=torch.double)
    weights_2E = torch.randn(2, experts, dtype=torch.double)

    torch.manual_seed(seed)
    y_TD, routing = layer(x_TD)
    clean_TE, noisy_TE, stddev_TE = noisy_logits(layer, x_TD, seed)
    gates = [naive_top_k(logits_E, k) for logits_E in noisy_TE]
    expected_TD, importance_E = naive_mixture(x_TD, gates, *layer.experts.parameters())
    load_E = naive_load(clean_TE, noisy_TE, stddev_TE, k)

    torch.testing.assert_close(y_TD, expected_TD, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(routing.importance_E, importance_E, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(routing.load_E, load_E, rtol=1e-10, atol=1e-10)

    def loss(y, importance, load):
        return (y * weights_TD).sum() + (torch.stack([importance, load]) * weights_2E).sum()

    ours = gradients(loss(y_TD, routing.importance_E, routing.load_E), layer, x_TD)
    naive = gradients(loss(expected_TD, importance_E, load_E), layer, x_TD)
    for got, want in zip(ours, naive, strict=True):
        want = torch.zeros_like(got) if want is None else want
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_evaluation_has_no_noise_and_counts_as_load():
    layer = make_layer(4, 2).eval()
    x_TD = torch.randn(20, D, dtype=torch.double)
    first, second = layer(x_TD), layer(x_TD)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1].load_E, first[1].counts_E.double())
    gates = [naive_top_k(logits_E, 2) for logits_E in x_TD @ layer.gate.w_gate]
    expected, _ = naive_mixture(x_TD, gates, *layer.experts.parameters())
    torch.testing.assert_close(first[0], expected, rtol=1e-10, atol=1e-10)


def test_gates_start_at_zero_and_expect_equal_load():
    torch.manual_seed(0)
    layer = MixtureOfExperts(D, H, 8, 2)
    assert not layer.gate.w_gate.any() and not layer.gate.w_noise.any()
    _, routing = layer(torch.randn(20_000, D))
    shares_E = routing.counts_E / routing.counts_E.sum()
    torch.testing.assert_close(shares_E, torch.full((8,), 1 / 8), rtol=0.05, atol=0)


def test_routing_is_sorted_by_expert_and_complete():
    layer = make_layer(5, 3)
    _, routing = layer(torch.randn(11, D, dtype=torch.double))
    assert routing.token_A.shape == routing.expert_A.shape == routing.gate_A.shape == (33,)
    assert (routing.expert_A.diff() >= 0).all()
    assert torch.equal(torch.bincount(routing.expert_A, minlength=5), routing.counts_E)
    per_token = torch.zeros(11, dtype=torch.double).index_add(0, routing.token_A, routing.gate_A)
    torch.testing.assert_close(per_token, torch.ones(11, dtype=torch.double))
    pairs = set(zip(routing.token_A.tolist(), routing.expert_A.tolist(), strict=True))
    assert len(pairs) == 33


def test_experts_start_with_the_variance_of_their_inputs():
    layer = MixtureOfExperts(50, 200, 4, 2)
    torch.testing.assert_close(layer.experts.w_in.std().item(), 50**-0.5, rtol=0.05, atol=0)
    torch.testing.assert_close(layer.experts.w_out.std().item(), 200**-0.5, rtol=0.05, atol=0)


def test_any_leading_shape():
    layer = make_layer(4, 2).eval()
    x = torch.randn(3, 5, D, dtype=torch.double)
    y, routing = layer(x)
    assert y.shape == x.shape
    assert torch.equal(y.view(-1, D), layer(x.view(-1, D))[0])
    assert routing.counts_E.sum() == 30


def test_no_token_at_all():
    layer = make_layer(4, 2)
    y, routing = layer(torch.zeros(0, D, dtype=torch.double))
    (y.sum() + routing.importance_E.sum() + routing.load_E.sum()).backward()
    assert y.shape == (0, D)
    assert not routing.counts_E.any() and not routing.load_E.any()
    assert all(not p.grad.any() for p in layer.parameters() if p.grad is not None)


def test_experts_without_a_token_get_zero_gradients():
    layer = make_layer(6, 1).eval()
    x = torch.randn(1, D, dtype=torch.double).repeat(4, 1)
    y, routing = layer(x)
    y.sum().backward()
    used = routing.counts_E > 0
    assert used.sum() == 1
    assert layer.experts.w_in.grad[used].any()
    assert not layer.experts.w_in.grad[~used].any()
    assert not layer.experts.w_out.grad[~used].any()


KINDS = [dict(), dict(groups=2), dict(gating="strictly_balanced")]


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gate_and_measures_are_float32_in_half_precision(dtype, options):
    layer = MixtureOfExperts(D, H, 4, 2, **options).to(dtype)
    with torch.no_grad():
        for parameter in layer.gate.parameters():
            parameter.normal_()
    y, routing = layer(torch.randn(12, D, dtype=dtype))
    assert y.dtype == dtype
    assert routing.gate_A.dtype == routing.importance_E.dtype == routing.load_E.dtype
    assert routing.gate_A.dtype == torch.float32
    (y.float().sum() + routing.importance_E.var()).backward()
    assert layer.experts.w_in.grad.dtype == dtype and layer.experts.w_in.grad.any()


@pytest.mark.parametrize("options", KINDS)
def test_autocast_leaves_the_gate_in_float32(options):
    torch.manual_seed(0)
    layer = MixtureOfExperts(D, H, 4, 2, **options).eval()
    with torch.no_grad():
        for name, parameter in layer.gate.named_parameters():
            parameter.normal_() if name.endswith("w_gate") else parameter.fill_(0.1)
    x = torch.randn(12, D, requires_grad=True)
    plain, reference = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, routing = layer(x)
        mixed.sum().backward()  # autocast reaches the backward pass of a caller who does this
    assert torch.equal(routing.gate_A, reference.gate_A)
    torch.testing.assert_close(mixed, plain, rtol=0.05, atol=0.05)
    assert not torch.equal(mixed, plain)  # the experts did run in bfloat16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(k=5), "k = 5 experts per token is more than the 4 experts"),
        (dict(k=0), "k of at least 1"),
        (dict(hidden_dim=0), "hidden_dim of at least 1"),
        (dict(gating="best"), "unknown gating 'best': choose one of noisy_top_k, strictly_"),
        (dict(groups=0), "groups of at least 1"),
        (dict(k=2.0), "a whole number k of at least 1, not 2.0"),
        (dict(dim="16"), "a whole number dim of at least 1, not '16'"),
        (dict(gating=["top_k"]), "unknown gating"),
        (dict(groups=3), "4 experts cannot be divided into 3 groups"),
        (dict(groups=4, k=2), "4 groups of 1 experts: choose k from 1 to 1"),
        (dict(groups=2, k=3, num_experts=8), "2 groups of 4 experts: choose k from 1 to 2"),
    ],
)
def test_bad_sizes_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        MixtureOfExperts(**(dict(dim=D, hidden_dim=H, num_experts=4, k=2) | options))


@pytest.mark.parametrize(
    ("x", "given"),
    [
        (torch.zeros(3, D + 1), rf"float32 \[3, {D + 1}\]"),
        (torch.zeros(3, D, 1), rf"float32 \[3, {D}, 1\]"),
        (torch.tensor(1.0), r"float32 \[\]"),
        (torch.zeros(3, D, dtype=torch.int64), rf"int64 \[3, {D}\]"),
        ([[0.0] * D], "a list"),
    ],
    ids=str,
)
def test_a_wrong_input_is_refused(x, given):
    layer = MixtureOfExperts(D, H, 4, 2)
    needed = rf"width {D} needs a floating-point tensor \[..., {D}\], not {given}"
    with pytest.raises(UserError, match=f"{needed}$"):
        layer(x)
