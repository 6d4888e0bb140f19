"""The gates' noise falls over a training: the paper's gate with a smaller standard deviation."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nmt_moe.common.errors import UserError
from nmt_moe.moe import MixtureOfExperts
from nmt_moe.moe.balance import load_probability
from nmt_moe.moe.gating import NoisyTopKGate
from tests.models.build import build_model

D, E, K, T = 6, 12, 2, 40


def make(groups: int = 1, **options) -> MixtureOfExperts:
    torch.manual_seed(0)
    layer = MixtureOfExperts(D, 5, E, K, groups=groups, **options).double()
    for parameter in layer.gate.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def shares(layer: nn.Module) -> list[float]:
    gates = [module for module in layer.modules() if isinstance(module, NoisyTopKGate)]
    return [gate.noise_share.item() for gate in gates]


@pytest.mark.parametrize(("updates", "share"), [(0, 1), (5, 0.6), (10, 0.2), (1000, 0.2)])
@pytest.mark.parametrize("groups", [1, 3])
def test_it_falls_linearly_to_its_end(groups, updates, share):
    model = build_model(moe_experts=6, moe_groups=groups, moe_noise_end=0.2, moe_noise_updates=10)
    model.set_num_updates(updates)  # as fairseq does
    assert shares(model) == pytest.approx([share] * len(shares(model))) and shares(model)


def test_it_stays_unless_asked():
    model = build_model()
    model.set_num_updates(10**6)
    assert {*shares(model)} == {1.0}
    assert not any("noise_share" in name for name in model.state_dict())


def test_the_gate_with_less_noise_is_the_papers_with_a_smaller_deviation(monkeypatch):
    layer = make(noise_end=0.1, noise_updates=100)
    gate = layer.gate
    gate.set_num_updates(50)
    x_TD = torch.randn(T, D, dtype=torch.double)
    noise_TE = torch.randn(T, E, dtype=torch.double)
    monkeypatch.setattr(torch, "randn_like", lambda _: noise_TE)
    routing = gate(x_TD)

    clean_TE = x_TD @ gate.w_gate
    stddev_TE = 0.55 * F.softplus(x_TD @ gate.w_noise)
    noisy_TE = clean_TE + noise_TE * stddev_TE
    logits_TK, expert_TK = noisy_TE.topk(K, dim=1)
    load_E = load_probability(clean_TE, noisy_TE, stddev_TE, K).sum(0)
    dense_TE = torch.zeros(T, E, dtype=torch.double)
    dense_TE = dense_TE.scatter(1, expert_TK, logits_TK.softmax(1))
    found_TE = torch.zeros(T, E, dtype=torch.double)
    found_TE = found_TE.index_put((routing.token_A, routing.expert_A), routing.gate_A)
    torch.testing.assert_close(found_TE, dense_TE)
    torch.testing.assert_close(routing.load_E, load_E)

    weight_TE = torch.randn(T, E, dtype=torch.double)
    names = [gate.w_gate, gate.w_noise]
    grads = [
        torch.autograd.grad((gates * weight_TE).sum() + load.square().sum(), names)
        for gates, load in ((found_TE, routing.load_E), (dense_TE, load_E))
    ]
    for found, right in zip(*grads, strict=True):
        torch.testing.assert_close(found, right)


@pytest.mark.parametrize("groups", [1, 3])
def test_evaluation_has_none_in_any_case(groups):
    layers = [
        make(groups, **options).eval() for options in ({}, dict(noise_end=0.5, noise_updates=9))
    ]
    x_TD = torch.randn(T, D, dtype=torch.double)
    layers[1].gate.primary.set_num_updates(9) if groups > 1 else layers[1].gate.set_num_updates(9)
    assert torch.equal(*(layer(x_TD)[0] for layer in layers))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(moe_noise_end=0.5), "give both or neither"),
        (dict(moe_noise_updates=5), "give both or neither"),
        (dict(moe_noise_end=0.0, moe_noise_updates=5), "--moe-noise-end"),
        (dict(moe_noise_end=0.5, moe_noise_updates=-1), "--moe-noise-updates"),
        (
            dict(moe_noise_end=0.5, moe_noise_updates=5, moe_gating="strictly_balanced"),
            "--moe-noise-updates: --moe-gating strictly_balanced has no noise",
        ),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(UserError, match=message):
        build_model(**options)
