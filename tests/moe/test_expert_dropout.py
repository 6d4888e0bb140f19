"""Experts out of reach: a batch finds a smaller layer, made of those that it can reach."""

import copy

import pytest
import torch
from torch import nn

from nmt_moe.common.errors import UserError
from nmt_moe.criterions.balance import balance_losses
from nmt_moe.moe import MixtureOfExperts, cv_squared
from nmt_moe.moe import gating as gating_module
from nmt_moe.moe.gating import GATES
from nmt_moe.moe.reach import draw
from tests.models.build import build_model

CPU = torch.device("cpu")
D, H, E, K = 6, 5, 12, 2


def make(**options) -> MixtureOfExperts:
    layer = MixtureOfExperts(D, H, E, K, **options).double()
    for parameter in layer.gate.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def smaller(layer: MixtureOfExperts, places, reach) -> MixtureOfExperts:
    """The same layer without the experts out of reach."""
    flat = layer.groups == 1
    made = copy.deepcopy(layer)
    gate = made.gate if flat else made.gate.secondary
    gate.dropout, gate.num_experts = 0.0, len(places)
    made.gate.num_experts = made.experts.num_experts = len(reach)
    if not flat:
        made.gate.per_group = len(places)
    for name, parameter in gate.named_parameters():
        setattr(gate, name, nn.Parameter(parameter.detach()[..., places].clone()))
    for name, parameter in made.experts.named_parameters():
        setattr(made.experts, name, nn.Parameter(parameter.detach()[reach].clone()))
    return made


def seeded(layer: MixtureOfExperts, x_TD):
    torch.manual_seed(3)
    return layer(x_TD)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("gating", GATES)
@pytest.mark.parametrize("places", [[0, 2], [1, 2, 3]])
def test_a_batch_finds_the_layer_of_those_in_reach(monkeypatch, gating, groups, places):
    torch.manual_seed(0)
    layer = make(gating=gating, groups=groups, expert_dropout=0.5)
    x_TD = torch.randn(30, D, dtype=torch.double, requires_grad=True)
    places = torch.tensor(places)
    reach = torch.cat([places + group * (E // groups) for group in range(groups)])
    part = smaller(layer, places, reach)
    monkeypatch.setattr(gating_module, "draw", lambda _, k, share, *__: places if share else None)
    (y_TD, routing), (right_TD, expected) = (seeded(one, x_TD) for one in (layer, part))
    torch.testing.assert_close(y_TD, right_TD, rtol=1e-10, atol=1e-12)
    assert torch.equal(routing.reach, reach)
    assert torch.equal(routing.token_A, expected.token_A)
    assert torch.equal(routing.expert_A, reach[expected.expert_A])
    for name in ("importance_E", "load_E", "counts_E"):
        all_E, those = getattr(routing, name), getattr(expected, name)
        assert torch.equal(routing.within_reach(all_E), those)
        assert all_E.sum().item() == pytest.approx(those.sum().item())
    found = balance_losses({"encoder.2": routing})
    assert found[0] == cv_squared(expected.importance_E)
    assert found[1] == cv_squared(expected.load_E)

    def gradients(of, y_TD, routing):
        loss = (y_TD * x_TD.detach()).sum() + sum(balance_losses({"": routing}))
        return torch.autograd.grad(loss, [x_TD, *of.experts.parameters()])

    ours, theirs = gradients(layer, y_TD, routing), gradients(part, right_TD, expected)
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-9, atol=1e-11)
    for got, want in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(got[reach], want, rtol=1e-9, atol=1e-11)
        gone = torch.ones(E, dtype=torch.bool).index_fill(0, reach, False)
        assert not got[gone].any()


def test_each_expert_is_out_of_reach_as_often_as_asked_for():
    torch.manual_seed(0)
    drawn = [draw(8, 2, 0.3, CPU, None) for _ in range(4000)]
    often_E = torch.stack([torch.bincount(x, minlength=8) for x in drawn]).double().mean(0)
    # 0.7, and a little more: two stay where less would.
    at_least = 0.7 + (0.3**8 * 2 + 8 * 0.7 * 0.3**7 * 1) / 8
    assert ((often_E - at_least).abs() < 4 * (0.21 / 4000) ** 0.5).all()
    assert min(len(x) for x in drawn) >= 2 and all((x.diff() > 0).all() for x in drawn)
    fewest = [draw(8, 3, 0.99, CPU, None) for _ in range(300)]
    assert {len(x) for x in fewest[:200]} <= {3, 4, 5}
    assert torch.cat(fewest).bincount(minlength=8).min() > 0  # any can be the ones that stay


def test_evaluation_reaches_all():
    torch.manual_seed(0)
    layer = make(expert_dropout=0.9).eval()
    _, routing = layer(torch.randn(200, D, dtype=torch.double))
    assert routing.reach is None and (routing.counts_E > 0).all()


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_the_range(value):
    with pytest.raises(UserError, match="--moe-expert-dropout must be at least 0 and less than 1"):
        build_model(moe_expert_dropout=value)
