"""Memory and network of several devices: against real optimizers, and by slow counting."""

import pytest
import torch

from nmt_moe.models.architectures import build, config
from nmt_moe.moe import MixtureOfExperts
from nmt_moe.optim.moe_adam import MoEAdam, is_expert
from nmt_moe.plan.devices import (
    all_reduce_bytes,
    machine_ratio,
    memory,
    memory_in_bfloat16,
    traffic,
)

SMALL = dict(dim=8, lstm_cells=12, moe_experts=8, moe_k=2, moe_hidden_dim=6)


def size(tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("optimizer", [MoEAdam, torch.optim.Adam])
@pytest.mark.parametrize("groups", [1, 4])
def test_one_device_holds_what_a_training_holds(optimizer, groups):
    model = build(config("lstm_moe", SMALL | dict(moe_groups=groups)), 30)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    trained = optimizer(model.parameters())
    trained.step()
    held = memory(model, devices=1)
    assert held.weights == size(model.parameters())
    assert held.gradients == size(p.grad for p in model.parameters())
    # Adam's "step" is one number for a whole parameter.
    state = [s[name] for s in trained.state.values() for name in s if name != "step"]
    name = "adam" if optimizer is torch.optim.Adam else "moe_adam"
    assert held.optimizer_state[name] == size(state)


@pytest.mark.parametrize("groups", [1, 4])
def test_one_device_holds_what_a_training_in_bfloat16_holds(groups):
    model = build(config("lstm_moe", SMALL | dict(moe_groups=groups)), 30).bfloat16()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    trained = MoEAdam(model.parameters())
    trained.step()
    state = [s[name] for s in trained.state.values() for name in s if name != "step"]
    held = memory_in_bfloat16(model, devices=1)
    assert held.weights == size(model.parameters())
    assert held.gradients == size(p.grad for p in model.parameters())
    assert held.optimizer_state == {"moe_adam": size(state)}


def test_the_largest_translation_model_fits_on_one_gpu():
    with torch.device("meta"):
        model = build(config("lstm_moe_wmt14_2048h", {}), 32_000)
    held = memory_in_bfloat16(model, 1)
    together = held.weights + held.gradients + held.optimizer_state["moe_adam"]
    numbers = sum(p.numel() for p in model.parameters())
    assert 6 * numbers < together < 6.2 * numbers and together < 50 * 2**30


@pytest.mark.parametrize(
    ("groups", "devices", "share"),
    [(1, 4, 2), (1, 3, 3), (1, 16, 1), (4, 2, 4), (4, 8, 1)],
)
def test_devices_divide_the_experts_and_nothing_else(groups, devices, share):
    with torch.device("meta"):
        model = build(config("lstm_moe", SMALL | dict(moe_groups=groups)), 30)
        fewer = build(config("lstm_moe", SMALL | dict(moe_experts=share, moe_k=1)), 30)
    dense = size(p for p in model.parameters() if not is_expert(p))
    experts = size(p for p in fewer.parameters() if is_expert(p))
    held = memory(model, devices)
    assert held.weights == held.gradients == dense + experts
    assert held.optimizer_state["adam"] == 2 * held.weights
    per_expert = (8 + 6 + 1) * 4  # rows, columns, a count
    matrices = 2 * 2  # two layers
    assert held.optimizer_state["moe_adam"] == 2 * dense + matrices * share * per_expert
    assert all_reduce_bytes(model, devices) == pytest.approx(2 * dense * (1 - 1 / devices), abs=1)


@pytest.mark.parametrize("devices", [1, 3])
def test_traffic_is_that_of_an_evenly_routed_batch(devices):
    experts, k, tokens, dim = 6, 2, 12, 8
    layer = MixtureOfExperts(dim, 5, experts, k)
    seen = [0] * experts
    sent = 0  # by device 0, to experts and as results of its own experts
    for token in range(devices * tokens):
        for choice in range(k):
            expert = (token * k + choice) % experts
            seen[expert] += 1
            of_token, of_expert = token // tokens, expert % devices
            sent += of_token != of_expert and 0 in (of_token, of_expert)
    found = traffic(layer, devices, tokens, "float32")
    assert [found.tokens_per_expert] * experts == seen
    assert found.bytes_sent == sent * dim * 4 * 2  # and the gradients
    assert traffic(layer, devices, tokens, "half").bytes_sent == found.bytes_sent // 2


def test_a_hierarchy_sends_a_token_to_k_experts_in_each_of_k_groups():
    layer = MixtureOfExperts(8, 5, 16, k=2, groups=4)
    found = traffic(layer, 4, 12, "float32")
    assert (found.groups, found.experts_per_token, found.experts_per_device) == (4, 4, 4)
    assert found.tokens_per_expert == 4 * 12 * 4 / 16
    assert found.bytes_sent == 4 * (4 * 12 * 8) * 4 * 3 // 4


def test_an_expert_does_as_many_multiply_adds_per_number_as_it_has_hidden_units():
    layer = MixtureOfExperts(8, 5, 16, k=1)
    expert = layer.ops_per_token - layer.gate.ops_per_token
    assert traffic(layer, 2, 12, "half").ops_per_number == expert / (2 * 8) == 5


def test_a_devices_ratio_is_of_multiply_adds_to_numbers():
    assert machine_ratio(flops=60e12, bandwidth=12.5e9, precision="float32") == 9600
    assert machine_ratio(flops=60e12, bandwidth=12.5e9, precision="half") == 4800
