"""The predicted efficiency of several devices: figures computed by hand, and slow counting."""

import json
import math

import pytest
import torch

from nmt_moe.models.architectures import build, config
from nmt_moe.moe import MixtureOfExperts
from nmt_moe.optim.moe_adam import is_expert
from nmt_moe.plan.__main__ import main
from nmt_moe.plan.efficiency import Cluster, collectives, predict, predictions

SMALL = dict(dim=8, lstm_cells=12, moe_experts=8, moe_k=2, moe_hidden_dim=6)
T = 12


def model_of(arch: str = "lstm_moe", vocabulary: int = 32_000, **options):
    with torch.device("meta"):
        return build(config(arch, options), vocabulary)


def efficiency(arch: str, devices: int, team: int, update_ms: float) -> float:
    """In half precision with 16,384 tokens on each side, where one device needs ``update_ms``."""
    model, tokens = model_of(arch), 16_384
    alone = predict(model, 1, 1, tokens, "half", Cluster())
    speed = alone.products * Cluster().update_flops / (update_ms / 1e3)
    found = predict(model, devices, team, tokens, "half", Cluster(update_flops=speed))
    assert found.products == pytest.approx(update_ms / 1e3)
    return found.efficiency


@pytest.mark.parametrize(
    ("arch", "devices", "team", "update_ms", "expected"),
    [
        ("lstm_moe", 8, 8, 64, 0.96),
        ("lstm_moe", 8, 8, 30, 0.91),
        ("lstm_moe", 16, 16, 64, 0.88),
        ("lstm_moe", 16, 16, 30, 0.77),
        ("lstm_moe", 16, 8, 64, 0.94),
        ("lstm_moe", 16, 8, 30, 0.88),
        ("lstm_moe_wmt14_2048h", 16, 16, 118, 0.93),
        ("lstm_moe_wmt14_2048h", 16, 8, 118, 0.69),
    ],
)
def test_figures_that_were_computed_by_hand(arch, devices, team, update_ms, expected):
    """With two calls a layer more than there are now."""
    assert efficiency(arch, devices, team, update_ms) == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize(
    ("devices", "team", "machine"), [(4, 4, 4), (8, 4, 4), (8, 8, 4), (8, 2, 4)]
)
def test_what_is_sent_is_that_of_a_loop(devices, team, machine):
    """Devices and experts one by one, one second a byte inside a machine, a thousand between."""
    model = model_of(vocabulary=30, **SMALL)
    slow = 1000.0
    cluster = Cluster(machine, 1.0, 1 / slow, 0.0)
    found = predict(model, devices, team, T, "float32", cluster)

    def seconds(one: int, other: int) -> float:
        if one == other:
            return 0.0
        return 1.0 if one // machine == other // machine else slow

    each = 2 * T * 8 * 4 * 4 / team  # bytes of a layer's tokens that each of the team gets
    tokens = sum(each * seconds(0, other) for other in range(team))
    assert found.tokens == pytest.approx(2 * tokens)  # two layers

    copies = range(0, devices, team)  # that hold the experts of device 0
    held = sum(p.numel() for p in model.parameters() if is_expert(p)) // team * 4
    steps = 2 * (len(copies) - 1)
    worst = max((seconds(0, other) for other in copies), default=0)
    assert found.expert_gradients == pytest.approx(steps * held / len(copies) * worst)

    dense = sum(p.numel() for p in model.parameters() if not is_expert(p)) * 4
    ring = 2 * (devices - 1) * dense / devices
    assert found.dense_gradients == pytest.approx(
        ring * (1 if devices == machine else slow / machine)
    )
    assert found.latency == 0


def test_each_call_has_its_latency():
    model = model_of(vocabulary=30, **SMALL)
    alone, one, two = (
        predict(model, *sizes, T, "half", Cluster(4, latency=1.0)).latency
        for sizes in ((4, 1), (4, 4), (8, 4))
    )
    # The dense gradients, and in each of two layers 7 calls, or two matrices, or both.
    assert (alone, one, two) == (1 + 2 * 2, 1 + 2 * 7, 1 + 2 * 9)


@pytest.mark.parametrize(
    ("gating", "groups", "calls"),
    [
        ("noisy_top_k", 1, 7),
        ("top_k", 4, 7),
        ("strictly_balanced", 1, 10),
        ("strictly_balanced", 4, 13),
    ],
)
def test_calls_of_a_layer(gating, groups, calls):
    """tests/parallel/test_mesh.py counts those that are made."""
    assert collectives(MixtureOfExperts(8, 6, 8, 2, gating, groups)) == calls


@pytest.mark.parametrize("arch", ["lstm_moe", "lstm_moe_wmt14_512h", "lstm_moe_wmt14_2048h"])
@pytest.mark.parametrize("devices", [8, 16, 64])
@pytest.mark.parametrize("tokens", [2_000, 16_000, 256_000])
def test_the_team_that_pays_is_the_faster_one(arch, devices, tokens):
    found = predictions(model_of(arch), devices, tokens, "half", Cluster())
    assert all(math.gcd(one.team, devices) == one.team for one in found)
    assert found[0].efficiency >= 0.97 * max(one.efficiency for one in found)


def test_a_language_model_counts_its_softmax_and_a_dense_one_no_experts():
    model = model_of("lstm_lm_4x512")
    [found] = predictions(model, 4, T, "half", Cluster())
    multiply_adds = found.products * Cluster().update_flops / 6 / T
    assert multiply_adds > 32_000 * 512
    assert (found.team, found.tokens, found.expert_gradients) == (1, 0, 0)


def test_the_command_prints_it_with_its_assumptions(capsys):
    arguments = "--arch lstm_moe --devices 16 --precision half --latency 1e-5".split()
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["prediction"]
    assert [one["team"] for one in found["teams"]] == [8, 16]
    for one in found["teams"]:
        assert f"{one['efficiency']:.1%}" in table
    assert found["assumptions"]["latency"] == 1e-5 and "10 us a call" in table
    assert "320 GB/s" in table and "43 GB/s" in table and "128 TFLOP/s" in table
    assert max(map(len, table.splitlines())) <= 100
