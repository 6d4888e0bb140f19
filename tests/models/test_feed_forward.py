"""What stands between LSTM layers, against its formula."""

import pytest
import torch

from nmt_moe.models.config import LSTMMoEConfig
from nmt_moe.models.feed_forward import FeedForward
from nmt_moe.models.padding import real_rows
from tests.models.build import SMALL, build_model

PAD_BL = torch.tensor([[False, False, False], [False, True, True]])


def build(**options) -> FeedForward:
    torch.manual_seed(0)
    module = FeedForward(LSTMMoEConfig(**(SMALL | options))).double().eval()
    if module.moe is not None:
        torch.nn.init.normal_(module.moe.gate.w_gate)
    return module


def by_hand(module: FeedForward, x_TD: torch.Tensor) -> torch.Tensor:
    if module.moe is not None:
        y_TD = module.moe(x_TD)[0]
        if module.shared is None:
            return y_TD
        w_in, w_out = (layer.weight for layer in module.shared if hasattr(layer, "weight"))
        return y_TD + torch.relu(x_TD @ w_in.t()) @ w_out.t()
    *hidden, last = [layer.weight for layer in module.dense if hasattr(layer, "weight")]
    for weight in hidden:
        x_TD = torch.relu(x_TD @ weight.t())
    return x_TD @ last.t()


@pytest.mark.parametrize("feed_forward", ["moe", "dense", "deep"])
@pytest.mark.parametrize("no_sigmoid", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_residual_sigmoid_and_padding(feed_forward, no_sigmoid, shared):
    options = dict(no_moe_sigmoid=no_sigmoid, moe_shared_expert=shared)
    module = build(feed_forward=feed_forward, **options)
    x_LBD = torch.randn(3, 2, 8).double()
    out_LBD, routing = module(x_LBD, real_rows(PAD_BL))
    assert (routing is None) == (feed_forward != "moe")
    y_LBD = by_hand(module, x_LBD.view(-1, 8)).view_as(x_LBD)
    want_LBD = x_LBD + (y_LBD if no_sigmoid else y_LBD.sigmoid())
    real_LB = ~PAD_BL.t()
    torch.testing.assert_close(out_LBD[real_LB], want_LBD[real_LB])
    assert torch.equal(out_LBD[~real_LB], x_LBD[~real_LB])


def test_dropout_is_on_the_output_of_the_layer():
    module = build(dropout=0.5).train()
    x_LBD = torch.randn(30, 2, 8).double()
    out_LBD, _ = module(x_LBD, torch.arange(60))
    left_out = (out_LBD == x_LBD).double().mean().item()
    assert 0.35 < left_out < 0.65


@pytest.mark.parametrize("feed_forward", ["moe", "dense", "deep"])
def test_dropout_of_hidden_activations_is_of_training_alone(feed_forward):
    """Each output is a sum over those that are left, made larger: right on average."""
    module = build(feed_forward=feed_forward, moe_hidden_dropout=0.3, no_moe_sigmoid=True)
    plain = build(feed_forward=feed_forward, no_moe_sigmoid=True)
    plain.load_state_dict(module.state_dict())
    x_LBD, real_T = torch.randn(1, 1, 8).double(), torch.arange(1)
    right = plain(x_LBD, real_T)[0]
    assert torch.equal(module(x_LBD, real_T)[0], right)
    module.train()
    if feed_forward == "moe":
        module.moe.gate.eval()  # without noise
    many, _ = module(x_LBD.expand(4000, 1, 8), torch.arange(4000))
    assert many.std(0).max() > 0.01
    if feed_forward != "deep":  # whose other hidden layers are not linear
        error = 4 * many.std(0) / 4000**0.5
        assert ((many.mean(0) - right[0]).abs() <= error + 1e-12).all()


@pytest.mark.parametrize("recompute", [False, True])
def test_the_options_reach_the_layer(recompute):
    model = build_model(moe_recompute=recompute, moe_groups=2, moe_gating="strictly_balanced")
    layer = model.decoder.feed_forwards["1"].moe
    assert layer.experts.recompute is recompute
    assert layer.groups == 2 and layer.gate.secondary.threshold.shape == (2, 2)


def test_a_shared_expert_starts_as_the_others_and_learns():
    torch.manual_seed(0)
    options = dict(dim=64, moe_hidden_dim=128, moe_k=1, no_moe_sigmoid=True, feed_forward="moe")
    module = FeedForward(LSTMMoEConfig(**(SMALL | options | dict(moe_shared_expert=True))))
    x_LBD = torch.randn(500, 1, 64)
    y_TD = module._run(module.shared, x_LBD[:, 0])
    assert y_TD.var().item() == pytest.approx(0.5, rel=0.1)
    out_LBD, _ = module(x_LBD, torch.arange(500))
    assert (out_LBD - x_LBD).var().item() == pytest.approx(1, rel=0.15)
    out_LBD.square().sum().backward()
    assert all(matrix.grad.abs().sum() > 0 for matrix in module.shared.parameters())


def test_a_dense_network_is_as_wide_as_all_active_experts():
    plain, wider = (
        build(feed_forward="dense", moe_shared_expert=shared).dense[0] for shared in (False, True)
    )
    hidden = SMALL["moe_hidden_dim"]
    assert plain.out_features == 2 * hidden and wider.out_features == 3 * hidden


def test_experts_that_start_equal_differ_a_little():
    torch.manual_seed(0)
    plain = build(dim=64, moe_hidden_dim=128, moe_init_equal=False).moe.experts
    experts = build(dim=64, moe_hidden_dim=128, moe_init_equal=True).moe.experts
    for weight, usual in zip(experts.parameters(), plain.parameters(), strict=True):
        weight, usual = weight.detach(), usual.detach()
        apart = (weight[0] - weight[1]).std() / weight[0].std()
        assert apart.item() == pytest.approx(0.01 * 2**0.5, rel=0.05)
        assert (usual[0] - usual[1]).std() > usual[0].std()
        assert weight[0].var().item() == pytest.approx(usual[0].var().item(), rel=0.05)
