"""Strictly balanced gating (appendix F) against a naive loop, and its decisions at the edges."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt_moe.common.errors import UserError
from nmt_moe.moe import MixtureOfExperts
from nmt_moe.moe.gating import batchwise_mask
from tests.moe.reference import (
    naive_balanced,
    naive_mixture,
    naive_shares,
    naive_threshold_loss,
)
from tests.moe.test_layer import D, H, gradients, make_layer

sizes = dict(k=st.integers(1, 3), tokens=st.integers(1, 12), seed=st.integers(0, 999))


def naive_flat(layer: MixtureOfExperts, x_TD, k: int):
    gate = layer.gate
    g_TE = torch.softmax(x_TD @ gate.w_gate, 1)
    if layer.training:
        taken = naive_balanced(g_TE, k)
        loss = naive_threshold_loss(g_TE, gate.threshold.expand_as(g_TE), taken)
    else:
        taken = [[e for e, g in enumerate(g_E) if g > gate.threshold[e]] for g_E in g_TE]
        loss = None
    gates = [naive_shares(g_E, experts) for g_E, experts in zip(g_TE, taken, strict=True)]
    return gates, loss


def naive_grouped(layer: MixtureOfExperts, x_TD, k: int):
    gate, b = layer.gate, layer.gate.per_group
    g_TG = torch.softmax(x_TD @ gate.primary.w_gate, 1)
    groups_of = naive_balanced(g_TG, k)
    loss = naive_threshold_loss(g_TG, gate.primary.threshold.expand_as(g_TG), groups_of)
    primary = [naive_shares(g_G, groups) for g_G, groups in zip(g_TG, groups_of, strict=True)]
    gates: list[dict] = [{} for _ in x_TD]
    for i in range(layer.groups):
        tokens = [t for t, groups in enumerate(groups_of) if i in groups]
        g_RE = torch.softmax(x_TD[tokens] @ gate.secondary.w_gate[i], 1)
        taken = naive_balanced(g_RE, k)
        threshold_RE = gate.secondary.threshold[i].expand_as(g_RE)
        loss = loss + naive_threshold_loss(g_RE, threshold_RE, taken)
        for t, g_E, experts in zip(tokens, g_RE, taken, strict=True):
            for j, share in naive_shares(g_E, experts).items():
                gates[t][i * b + j] = primary[t][i] * share
    return gates, loss


def compare(layer: MixtureOfExperts, x_TD, naive, k: int, seed: int) -> None:
    torch.manual_seed(seed)
    weights_TD, weights_E = torch.randn_like(x_TD), torch.randn(layer.num_experts).double()
    y_TD, routing = layer(x_TD)
    gates, threshold_loss = naive(layer, x_TD, k)
    expected_TD, importance_E = naive_mixture(x_TD, gates, *layer.experts.parameters())
    torch.testing.assert_close(y_TD, expected_TD, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(routing.importance_E, importance_E, rtol=1e-10, atol=1e-10)
    assert (routing.threshold_loss is None) == (threshold_loss is None)

    def loss(y, importance, thresholds):
        total = (y * weights_TD).sum() + (importance * weights_E).sum()
        total = total + 0 * x_TD.sum()  # no expert may have taken any token
        return total if thresholds is None else total + thresholds

    ours = gradients(loss(y_TD, routing.importance_E, routing.threshold_loss), layer, x_TD)
    want = gradients(loss(expected_TD, importance_E, threshold_loss), layer, x_TD)
    for a, b in zip(ours, want, strict=True):
        if a is None or b is None:
            assert all(t is None or not t.any() for t in (a, b))
        else:
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def make(experts: int, k: int, **options) -> MixtureOfExperts:
    """A layer whose thresholds agree with its random gates here and there."""
    layer = make_layer(experts, k, gating="strictly_balanced", **options)
    with torch.no_grad():
        for name, parameter in layer.gate.named_parameters():
            if name.endswith("threshold"):
                parameter.uniform_(0.0, 2 / parameter.shape[-1])
    return layer


@settings(max_examples=30)
@given(experts=st.integers(1, 6), training=st.booleans(), **sizes)
def test_flat_equals_a_naive_loop_with_every_gradient(experts, training, k, tokens, seed):
    k = min(k, experts)
    torch.manual_seed(seed)
    layer = make(experts, k).train(training)
    x_TD = torch.randn(tokens, D, dtype=torch.double, requires_grad=True)
    compare(layer, x_TD, naive_flat, k, seed)


@settings(max_examples=30)
@given(groups=st.integers(2, 4), per_group=st.integers(1, 4), **sizes)
def test_hierarchical_equals_a_naive_loop_with_every_gradient(groups, per_group, k, tokens, seed):
    k = min(k, groups, per_group)
    torch.manual_seed(seed)
    layer = make(groups * per_group, k, groups=groups)
    x_TD = torch.randn(tokens, D, dtype=torch.double, requires_grad=True)
    compare(layer, x_TD, naive_grouped, k, seed)


@settings(max_examples=50)
@given(experts=st.integers(1, 8), copies=st.integers(1, 3), **sizes)
def test_every_expert_takes_exactly_m_tokens_and_the_first_of_equals(
    experts, copies, k, tokens, seed
):
    k = min(k, experts)
    torch.manual_seed(seed)
    g_TE = torch.rand(tokens, experts, dtype=torch.double).repeat(copies, 1)  # many ties
    mask_TE = batchwise_mask(g_TE[None], k)[0]
    m = min(len(g_TE), max(1, int(k * len(g_TE) / experts + 0.5)))
    assert mask_TE.sum(0).tolist() == [m] * experts
    assert [row.nonzero().squeeze(1).tolist() for row in mask_TE] == naive_balanced(g_TE, k)


@pytest.mark.parametrize(("groups", "m"), [(1, 24), (4, 48)])
def test_all_experts_are_equally_loaded_in_training(groups, m):
    layer = make(16, 2, groups=groups)
    _, routing = layer(torch.randn(192, D, dtype=torch.double))
    assert routing.counts_E.tolist() == [m] * 16  # k*T/E, and k*k*T/E in the hierarchy
    assert torch.equal(routing.load_E, routing.counts_E.double())


def test_a_batch_smaller_than_the_experts_keeps_all_of_them_at_work():
    layer = make(8, 2)
    y_TD, routing = layer(torch.randn(3, D, dtype=torch.double))  # k*T < E
    assert routing.counts_E.tolist() == [1] * 8
    assert torch.isfinite(y_TD).all()


def test_a_token_that_no_expert_took_gets_zero_and_no_nan():
    torch.manual_seed(0)
    layer = make(4, 1)
    x_TD = torch.randn(40, D, dtype=torch.double, requires_grad=True)
    y_TD, routing = layer(x_TD)
    left = torch.bincount(routing.token_A, minlength=40) == 0
    assert 0 < left.sum() < 40
    assert not y_TD[left].any() and y_TD[~left].any(1).all()
    y_TD.sum().backward()
    assert not x_TD.grad[left].any() and torch.isfinite(x_TD.grad).all()

    layer.eval()
    with torch.no_grad():
        layer.gate.threshold.fill_(1.0)
    assert not layer(x_TD)[0].any()


def test_gates_that_underflow_stay_finite():
    """An expert must take m tokens, also where its softmax is 0 in float32."""
    layer = MixtureOfExperts(D, H, 4, 2, gating="strictly_balanced")
    with torch.no_grad():
        layer.gate.w_gate.zero_()
        layer.gate.w_gate[:, 0] = 1000.0
    x_TD = torch.rand(8, D, requires_grad=True)
    y_TD, routing = layer(x_TD)
    (y_TD.sum() + routing.importance_E.sum() + routing.threshold_loss).backward()
    assert routing.counts_E.tolist() == [4] * 4
    for tensor in (y_TD, x_TD.grad, *(p.grad for p in layer.parameters())):
        assert torch.isfinite(tensor).all()


@pytest.mark.parametrize("groups", [1, 4])
def test_in_evaluation_no_token_depends_on_another(groups):
    torch.manual_seed(0)
    layer = make(16, 2, groups=groups).eval()
    x_TD = torch.randn(30, D, dtype=torch.double)
    together, _ = layer(x_TD)
    for t in range(30):
        torch.testing.assert_close(layer(x_TD[t : t + 1])[0], together[t : t + 1])


@pytest.mark.parametrize("groups", [1, 4])
def test_before_thresholds_have_learnt_evaluation_uses_few_experts(groups):
    torch.manual_seed(0)
    layer = MixtureOfExperts(D, H, 16, 2, gating="strictly_balanced", groups=groups).eval()
    assert layer(torch.randn(100, D))[1].counts_E.sum() < 10  # of 1600


def test_an_expert_without_a_choice_is_used_from_the_start():
    layer = MixtureOfExperts(D, H, 1, 1, gating="strictly_balanced").eval()
    assert layer(torch.randn(10, D))[1].counts_E.tolist() == [10]


def test_a_gate_at_its_threshold_is_not_above_it():
    layer = MixtureOfExperts(D, H, 4, 2, gating="strictly_balanced").eval()
    with torch.no_grad():
        layer.gate.w_gate.zero_()  # every gate is 1/4
        layer.gate.threshold.copy_(torch.tensor([0.2, 0.25, 0.25, 0.3]))
    assert layer(torch.randn(9, D))[1].counts_E.tolist() == [9, 0, 0, 0]


@pytest.mark.parametrize("groups", [1, 4])
def test_thresholds_learn_the_choice_of_the_batch(groups):
    torch.manual_seed(0)
    layer = make_layer(16, 2, gating="strictly_balanced", groups=groups)
    thresholds = [p for name, p in layer.gate.named_parameters() if name.endswith("threshold")]
    with torch.no_grad():
        for threshold in thresholds:
            threshold.fill_(1.5 / threshold.shape[-1])  # as they start
    optimizer = torch.optim.Adam(thresholds, lr=0.01)
    rates = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
    for _ in range(400):
        _, routing = layer(torch.randn(256, D, dtype=torch.double))
        optimizer.zero_grad()
        routing.threshold_loss.backward()
        optimizer.step()
        rates.step()
    x_TD = torch.randn(8192, D, dtype=torch.double)
    taken = layer.train()(x_TD)[1]
    by_threshold = layer.eval()(x_TD)[1]
    share_E = by_threshold.counts_E / taken.counts_E
    torch.testing.assert_close(share_E, torch.ones(16), rtol=0, atol=0.25)

    def pairs(routing):
        return set((routing.token_A * 16 + routing.expert_A).tolist())

    both = len(pairs(taken) & pairs(by_threshold))
    assert both > 0.85 * len(pairs(taken))


def test_a_checkpoint_without_thresholds_is_refused_in_one_line():
    old = MixtureOfExperts(D, H, 4, 2).state_dict()
    layer = MixtureOfExperts(D, H, 4, 2, gating="strictly_balanced")
    with pytest.raises(UserError, match=r"has no gate.threshold, which .* another gating"):
        layer.load_state_dict(old)
