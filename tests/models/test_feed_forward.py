"""What stands between LSTM layers, against its formula."""

import pytest
import torch

from nmt_moe.models.config import LSTMMoEConfig
from nmt_moe.models.feed_forward import FeedForward
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
        return module.moe(x_TD)[0]
    *hidden, last = [layer.weight for layer in module.dense if hasattr(layer, "weight")]
    for weight in hidden:
        x_TD = torch.relu(x_TD @ weight.t())
    return x_TD @ last.t()


@pytest.mark.parametrize("feed_forward", ["moe", "dense", "deep"])
@pytest.mark.parametrize("no_sigmoid", [False, True])
def test_residual_sigmoid_and_padding(feed_forward, no_sigmoid):
    module = build(feed_forward=feed_forward, no_moe_sigmoid=no_sigmoid)
    x_LBD = torch.randn(3, 2, 8).double()
    out_LBD, routing = module(x_LBD, PAD_BL)
    assert (routing is None) == (feed_forward != "moe")
    y_LBD = by_hand(module, x_LBD.view(-1, 8)).view_as(x_LBD)
    want_LBD = x_LBD + (y_LBD if no_sigmoid else y_LBD.sigmoid())
    real_LB = ~PAD_BL.t()
    torch.testing.assert_close(out_LBD[real_LB], want_LBD[real_LB])
    assert torch.equal(out_LBD[~real_LB], x_LBD[~real_LB])


def test_dropout_is_on_the_output_of_the_layer():
    module = build(dropout=0.5).train()
    x_LBD = torch.randn(30, 2, 8).double()
    out_LBD, _ = module(x_LBD, torch.zeros(2, 30, dtype=torch.bool))
    left_out = (out_LBD == x_LBD).double().mean().item()
    assert 0.35 < left_out < 0.65


@pytest.mark.parametrize("feed_forward", ["moe", "dense", "deep"])
def test_dropout_of_hidden_activations_is_of_training_alone(feed_forward):
    """Each output is a sum over those that are left, made larger: right on average."""
    module = build(feed_forward=feed_forward, moe_hidden_dropout=0.3, no_moe_sigmoid=True)
    plain = build(feed_forward=feed_forward, no_moe_sigmoid=True)
    plain.load_state_dict(module.state_dict())
    x_LBD, no_pad = torch.randn(1, 1, 8).double(), torch.zeros(1, 1, dtype=torch.bool)
    right = plain(x_LBD, no_pad)[0]
    assert torch.equal(module(x_LBD, no_pad)[0], right)
    module.train()
    if feed_forward == "moe":
        module.moe.gate.eval()  # without noise
    many, _ = module(x_LBD.expand(4000, 1, 8), no_pad.expand(1, 4000))
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
