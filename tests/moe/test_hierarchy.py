"""The hierarchical gate against a naive loop, and what it must not compute."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from nmt_moe.moe import MixtureOfExperts
from nmt_moe.moe.hierarchy import HierarchicalGate
from tests.moe.reference import naive_load, naive_mixture, naive_top_k
from tests.moe.test_layer import D, H, gradients, make_layer


def noisy(x_RD, w_gate, w_noise):
    clean = x_RD @ w_gate
    stddev = torch.log1p(torch.exp(x_RD @ w_noise))
    return clean, clean + torch.randn(clean.shape, dtype=clean.dtype) * stddev, stddev


def noisy_rows(x_TD, sent, bank):
    """As ``noisy`` of all rows in one draw: each token, group by group, with its group's gate."""
    rows = [(group, t) for group, tokens in enumerate(sent) for t in tokens]
    clean = [x_TD[t] @ bank.w_gate[group] for group, t in rows]
    stddev = [torch.log1p(torch.exp(x_TD[t] @ bank.w_noise[group])) for group, t in rows]
    clean_RE, stddev_RE = torch.stack(clean), torch.stack(stddev)
    noise_RE = torch.randn(clean_RE.shape, dtype=clean_RE.dtype)
    return rows, clean_RE, clean_RE + noise_RE * stddev_RE, stddev_RE


def naive(layer: MixtureOfExperts, x_TD, k: int):
    """Appendix B by the letter: output, importance, load by formula 14."""
    gate, b = layer.gate, layer.gate.per_group
    clean_TG, noisy_TG, stddev_TG = noisy(x_TD, gate.primary.w_gate, gate.primary.w_noise)
    primary = [naive_top_k(logits_G, k) for logits_G in noisy_TG]
    sent = [[t for t, groups in enumerate(primary) if i in groups] for i in range(layer.groups)]
    rows, clean_RE, noisy_RE, stddev_RE = noisy_rows(x_TD, sent, gate.secondary)

    gates: list[dict] = [{} for _ in x_TD]
    for (i, t), logits_E in zip(rows, noisy_RE, strict=True):
        for j, secondary in naive_top_k(logits_E, k).items():
            gates[t][i * b + j] = primary[t][i] * secondary
    load_primary_G = naive_load(clean_TG, noisy_TG, stddev_TG, k)
    loads = []
    for i, tokens in enumerate(sent):
        own = [r for r, (group, _) in enumerate(rows) if group == i]
        if own:
            inside_E = naive_load(clean_RE[own], noisy_RE[own], stddev_RE[own], k)
            loads.append(load_primary_G[i] * inside_E / len(tokens))
        else:
            loads.append(torch.zeros(b, dtype=x_TD.dtype))
    return *naive_mixture(x_TD, gates, *layer.experts.parameters()), torch.cat(loads)


@settings(max_examples=30)
@given(
    groups=st.integers(2, 4), per_group=st.integers(1, 4), k=st.integers(1, 2),
    tokens=st.integers(1, 9), seed=st.integers(0, 999),
)  # fmt: skip
def test_output_and_every_gradient_equal_a_naive_loop(groups, per_group, k, tokens, seed):
    k = min(k, per_group)
    torch.manual_seed(seed)
    layer = make_layer(groups * per_group, k, groups=groups)
    x_TD = torch.randn(tokens, D, dtype=torch.double, requires_grad=True)
    weights_TD = torch.randn(tokens, D, dtype=torch.double)
    weights_2E = torch.randn(2, groups * per_group, dtype=torch.double)

    torch.manual_seed(seed)
    y_TD, routing = layer(x_TD)
    torch.manual_seed(seed)
    expected = naive(layer, x_TD, k)

    ours = (y_TD, routing.importance_E, routing.load_E)
    for got, want in zip(ours, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)

    def loss(y, importance, load):
        return (y * weights_TD).sum() + (torch.stack([importance, load]) * weights_2E).sum()

    for got, want in zip(
        gradients(loss(*ours), layer, x_TD), gradients(loss(*expected), layer, x_TD), strict=True
    ):
        want = torch.zeros_like(got) if want is None else want
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("gating", ["noisy_top_k", "strictly_balanced", "top_k"])
@pytest.mark.parametrize("training", [True, False])
def test_one_group_equals_a_flat_layer(gating, training):
    torch.manual_seed(0)
    flat = make_layer(6, 2, gating=gating).train(training)
    one_group = make_layer(6, 2, gating=gating)
    gate = HierarchicalGate(D, 6, 2, groups=1, gating=gating).double()
    with torch.no_grad():
        gate.secondary.w_gate.copy_(flat.gate.w_gate[None])
        gate.primary.w_gate.normal_()
        if gating == "noisy_top_k":
            gate.secondary.w_noise.copy_(flat.gate.w_noise[None])
        if gating == "strictly_balanced":
            flat.gate.threshold.fill_(0.2)
            gate.secondary.threshold.fill_(0.2)
            gate.primary.threshold.zero_()
    one_group.experts = flat.experts
    one_group.gate = gate
    one_group.train(training)
    x_TD = torch.randn(12, D, dtype=torch.double)

    torch.manual_seed(1)
    got_TD, got = one_group(x_TD)
    torch.manual_seed(1)
    if training and gating == "noisy_top_k":
        torch.randn(12, 1, dtype=torch.double)  # the primary gate's
    want_TD, want = flat(x_TD)
    torch.testing.assert_close(got_TD, want_TD, rtol=1e-12, atol=1e-12)
    assert torch.equal(got.token_A, want.token_A) and torch.equal(got.expert_A, want.expert_A)
    for name in ("gate_A", "importance_E", "load_E"):
        torch.testing.assert_close(getattr(got, name), getattr(want, name), rtol=1e-12, atol=1e-12)


class Sizes(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return result


@pytest.mark.parametrize("gating", ["noisy_top_k", "strictly_balanced", "top_k"])
def test_gating_makes_no_tensor_of_tokens_by_experts(gating):
    dim, groups, per_group, k, tokens = 4, 32, 32, 2, 640
    layer = MixtureOfExperts(dim, H, groups * per_group, k, gating=gating, groups=groups)
    x_TD = torch.randn(tokens, dim, requires_grad=True)
    gate = layer.gate
    with Sizes() as forward:
        routing = gate(x_TD)
    loss = routing.gate_A.square().sum() + routing.load_E.square().sum()
    with Sizes() as backward:
        loss.backward()
    for seen in (forward, backward):
        assert tokens * groups <= seen.largest <= tokens * (groups + k * per_group)
    assert gate.secondary.w_gate.grad.any()


def test_groups_that_are_not_chosen_cost_nothing_and_get_no_gradient():
    layer = make_layer(16, 1, groups=4).eval()
    x_TD = torch.randn(1, D, dtype=torch.double).repeat(5, 1)
    y_TD, routing = layer(x_TD)
    y_TD.square().sum().backward()
    [group] = (routing.counts_E.view(4, 4).sum(1) > 0).nonzero().squeeze(1).tolist()
    others = [i for i in range(4) if i != group]
    assert not layer.gate.secondary.w_gate.grad[others].any()
    assert routing.counts_E.sum() == 5


def test_four_experts_per_token_in_two_groups():
    layer = make_layer(12, 2, groups=3)
    _, routing = layer(torch.randn(7, D, dtype=torch.double))
    assert layer.experts_per_token == 4
    assert torch.equal(torch.bincount(routing.token_A), torch.full((7,), 4))
    per_token = torch.zeros(7, dtype=torch.double).index_add(0, routing.token_A, routing.gate_A)
    torch.testing.assert_close(per_token, torch.ones(7, dtype=torch.double))
    for t in range(7):
        groups = routing.expert_A[routing.token_A == t] // 4
        assert len(groups.unique()) == 2
    order = list(zip(routing.expert_A.tolist(), routing.token_A.tolist(), strict=True))
    assert order == sorted(order)


@pytest.mark.parametrize("gating", ["noisy_top_k", "strictly_balanced", "top_k"])
def test_no_token_at_all(gating):
    layer = make_layer(8, 2, groups=2, gating=gating)
    y_TD, routing = layer(torch.zeros(0, D, dtype=torch.double))
    (y_TD.sum() + routing.importance_E.sum() + routing.load_E.sum()).backward()
    assert y_TD.shape == (0, D) and not routing.load_E.any() and not routing.counts_E.any()
