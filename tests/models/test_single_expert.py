"""Gates that a token's only expert leaves without a gradient, and the warning of them."""

import pytest
import torch

from nmt_moe.models.task import without_gradient
from nmt_moe.moe import MixtureOfExperts
from tests.commands import train
from tests.models.build import build_model


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("gating", ["noisy_top_k", "top_k"])
@pytest.mark.parametrize("k", [1, 2])
def test_the_gradient_is_zero_where_it_is_said(k, gating, groups):
    torch.manual_seed(0)
    layer = MixtureOfExperts(8, 6, 8, k, gating, groups)
    gates = [weight for name, weight in layer.gate.named_parameters() if name.endswith("w_gate")]
    for weight in gates:
        torch.nn.init.normal_(weight)
    layer(torch.randn(50, 8))[0].square().sum().backward()
    learns = [weight.grad is not None and bool(weight.grad.any()) for weight in gates]
    assert learns == [k > 1] * len(gates)
    text = without_gradient(build_model(moe_k=k, moe_gating=gating, moe_groups=groups))
    assert (text is None) == (k > 1)
    if text:
        assert text.startswith("--moe-k 1: ") and "use --moe-k 2 or more" in text
        assert ("only the load loss" in text) == (gating == "noisy_top_k")


@pytest.mark.parametrize(
    "options",
    [dict(moe_gating="strictly_balanced"), dict(moe_experts=1), dict(feed_forward="dense")],
)
def test_nothing_is_said_of_others(options):
    assert without_gradient(build_model(moe_k=1, **options)) is None


def test_a_training_says_it_and_logs_attention(data, tmp_path):
    finished = train(data, tmp_path, "--moe-k", 1, "--max-update", 12)
    assert finished.stdout.count("the gradient of the gates is 0") == 1
    for tag, prefix in (("train_inner", ""), ("valid", "valid_")):
        log = finished.logs(tag)[-1]
        assert float(log[f"{prefix}attention_entropy"]) > 0.5
        for name in ("top_share", "last_share"):
            assert 0 < float(log[f"{prefix}attention_{name}"]) < 1
        assert float(log[f"{prefix}attention_stuck"]) == 0
