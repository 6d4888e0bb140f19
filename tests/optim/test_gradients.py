"""Gradients of experts that are scaled and measured late, against all of it done at once."""

import pytest
import torch
from torch import Tensor

from nmt_moe.kernels.cpu import factored as kernel
from nmt_moe.moe import MixtureOfExperts
from nmt_moe.optim import gradients, moe_adam
from nmt_moe.optim.fairseq_adam import FairseqMoEAdam, FairseqMoEAdamConfig
from tests.compiled import skip_unless_compiled

skip_unless_compiled()


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moe_adam, "_LARGE", 0)


def made(plain: bool = False) -> tuple[MixtureOfExperts, FairseqMoEAdam]:
    torch.manual_seed(1)
    layer = MixtureOfExperts(16, 32, 4, 2)
    config = FairseqMoEAdamConfig(lr=[0.01], weight_decay=0.1, moe_adam_plain=plain)
    return layer, FairseqMoEAdam(config, layer.parameters())


def backward(layer: MixtureOfExperts, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    y_TD, _ = layer(torch.randn(50, 16, generator=chance))
    y_TD.backward(torch.randn(50, 16, generator=chance))


def update(optimizer: FairseqMoEAdam, scale: float | Tensor, most: float) -> Tensor:
    optimizer.multiply_grads(scale)
    norm = optimizer.clip_grad_norm(most)
    optimizer.step()
    optimizer.zero_grad()
    return norm


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("most", [0.0, 0.5, 1e6])
def test_updates_are_those_of_gradients_scaled_at_once(plain, most, monkeypatch):
    found = []
    for late in (True, False):
        layer, optimizer = made(plain)
        if not late:
            monkeypatch.setattr(optimizer._optimizer.gradients, "_late", lambda param, grad: False)
        norms = []
        for seed in range(4):
            backward(layer, seed)
            backward(layer, seed + 10)  # into the gradients that are there
            norms.append(update(optimizer, torch.tensor(0.01), most))
        found.append([*norms, *(p.detach() for p in layer.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=1e-7)


def test_the_norm_is_that_of_all_scaled_gradients():
    layer, optimizer = made()
    backward(layer, 1)
    whole = torch.cat([p.grad.flatten() for p in layer.parameters()]).norm()
    optimizer.multiply_grads(0.25)
    torch.testing.assert_close(optimizer.clip_grad_norm(0.0), whole * 0.25)
    optimizer.multiply_grads(4.0)
    torch.testing.assert_close(optimizer.clip_grad_norm(0.1), whole)
    torch.testing.assert_close(optimizer.clip_grad_norm(0.0), torch.tensor(0.1))


def test_experts_are_read_once_for_norm_and_update(monkeypatch):
    calls = []
    right = kernel.mean_squares
    monkeypatch.setattr(kernel, "mean_squares", lambda x: calls.append(x.shape) or right(x))
    layer, optimizer = made()
    backward(layer, 1)
    before = layer.experts.w_in.grad.clone()
    optimizer.multiply_grads(0.1)
    optimizer.clip_grad_norm(0.01)
    assert torch.equal(layer.experts.w_in.grad, before)
    optimizer.step()
    assert len(calls) == 2  # w_in and w_out


def test_what_was_measured_is_forgotten_when_the_gradient_changes():
    updated = []
    for measured in (True, False):
        layer, optimizer = made()
        backward(layer, 1)
        if measured:
            optimizer.clip_grad_norm(0.0)
        layer.experts.w_in.grad[0].mul_(3)
        optimizer.step()
        updated.append(layer.experts.w_in.detach())
    assert torch.equal(*updated)


def test_a_gradient_that_is_dropped_takes_its_scale_along():
    updated = []
    for dropped in (True, False):
        layer, optimizer = made()
        if dropped:
            backward(layer, 1)
            optimizer.multiply_grads(0.001)
            optimizer.zero_grad()
        backward(layer, 2)
        optimizer.step()
        updated.append(layer.experts.w_in.detach())
    assert torch.equal(*updated)


def test_no_memory_of_a_gradient_is_kept_after_an_update():
    layer, optimizer = made()
    backward(layer, 1)
    update(optimizer, 1.0, 1.0)
    held: gradients.Gradients = optimizer._optimizer.gradients
    assert not held._means
