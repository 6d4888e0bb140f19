"""Recomputed hidden activations: the same gradients to the bit, less memory."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from nmt_moe.moe import MixtureOfExperts
from tests.moe.test_hierarchy import Sizes
from tests.moe.test_layer import D


def layers(hidden_dim: int, **options) -> list[MixtureOfExperts]:
    """The same layer without and with recomputation."""
    torch.manual_seed(0)
    pair = [MixtureOfExperts(D, hidden_dim, 8, 2, recompute=r, **options) for r in (False, True)]
    for parameter in pair[0].gate.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    pair[1].load_state_dict(pair[0].state_dict())
    return pair


def step(layer: MixtureOfExperts, x_TD) -> list:
    torch.manual_seed(1)
    x_TD = x_TD.clone().requires_grad_()
    y_TD, _ = layer(x_TD)
    y_TD.square().sum().backward()
    return [y_TD, x_TD.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("options", [{}, dict(groups=2), dict(gating="strictly_balanced")])
@pytest.mark.parametrize("tokens", [0, 1, 50])
def test_output_and_gradients_are_unchanged_to_the_bit(options, tokens):
    x_TD = torch.randn(tokens, D)
    for kept, again in zip(*(step(layer, x_TD) for layer in layers(64, **options)), strict=True):
        assert (kept is None and again is None) or torch.equal(kept, again)


def saved_bytes(layer: MixtureOfExperts, x_TD) -> int:
    """What autograd keeps from the forward to the backward pass."""
    storages = {}

    def note(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        layer(x_TD)
    return sum(storages.values())


def test_without_gradients_nothing_of_that_size_is_made():
    layer, _ = layers(hidden_dim=40)
    with torch.no_grad(), Sizes() as seen:
        layer(torch.randn(300, D))
    assert seen.largest < 300 * 2 * 40


def test_what_is_kept_falls_by_the_hidden_activations():
    tokens, hidden_dim = 300, 40
    x_TD = torch.randn(tokens, D, requires_grad=True)
    kept, again = (saved_bytes(layer, x_TD) for layer in layers(hidden_dim))
    assert kept - again == tokens * 2 * hidden_dim * 4  # A * H * 4 bytes
