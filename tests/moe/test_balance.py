"""Importance, load and the balance losses against what they are to measure."""

import pytest
import torch

from nmt_moe.moe import MixtureOfExperts, cv_squared
from nmt_moe.moe.balance import load_probability, max_over_mean


def test_cv_squared_is_population_variance_over_squared_mean():
    assert cv_squared(torch.tensor([1.0, 3.0])).item() == pytest.approx(1 / 4)
    assert cv_squared(torch.tensor([5.0, 5.0, 5.0])).item() == 0
    assert cv_squared(torch.tensor([0.0, 0.0, 0.0, 4.0])).item() == pytest.approx(3)


def test_a_batch_without_tokens_is_balanced_and_has_no_gradient():
    v = torch.zeros(4, requires_grad=True)
    cv_squared(v).backward()
    assert cv_squared(v) == 0 and max_over_mean(v) == 1
    assert torch.equal(v.grad, torch.zeros(4))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_load_agrees_with_resampling_each_experts_noise(k):
    """The definition in appendix A: draw the noise of one expert again, keep the others'."""
    torch.manual_seed(k)
    tokens, experts, draws = 12, 8, 4000
    clean = torch.randn(tokens, experts, dtype=torch.double)
    stddev = torch.rand(tokens, experts, dtype=torch.double) + 0.3
    noisy = clean + torch.randn_like(clean) * stddev
    estimate = load_probability(clean, noisy, stddev, k)
    for i in range(experts):
        again = noisy.expand(draws, -1, -1).clone()
        again[:, :, i] = clean[:, i] + torch.randn(draws, tokens, dtype=torch.double) * stddev[:, i]
        chosen = (again.topk(k, dim=2).indices == i).any(2)
        frequency = chosen.double().mean(0)
        assert (estimate[:, i] - frequency).abs().max() < 0.05


@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_the_loads_of_a_token_sum_to_k_on_average(k):
    torch.manual_seed(0)
    layer = MixtureOfExperts(16, 4, 8, k)
    with torch.no_grad():
        layer.gate.w_gate.normal_(std=0.1)
        layer.gate.w_noise.normal_(std=0.1)
    x_TD = torch.randn(4000, 16)
    _, routing = layer(x_TD)
    assert (routing.load_E.sum() / 4000).item() == pytest.approx(k, rel=0.03)
    torch.testing.assert_close(routing.load_E / 4000, routing.counts_E / 4000, rtol=0, atol=0.05)


def test_load_without_noise_is_the_choice():
    """The floor of the noise makes it so, and is too small for anything else."""
    clean = torch.tensor([[1.0, 2, 3], [3, 2, 2], [2, 2, 1]]).requires_grad_()
    stddev = torch.zeros(3, 3, requires_grad=True)
    load = load_probability(clean, clean, stddev, 1)
    half = 0.5  # an expert at its bar is chosen or not
    right = torch.tensor([[0, 0, 1.0], [1, 0, 0], [half, half, 0]])
    torch.testing.assert_close(load, right)
    (load * torch.tensor([1.0, 2, 3])).sum().backward()
    assert clean.grad.isfinite().all() and stddev.grad.isfinite().all()
    little = torch.full((1, 3), 1e-6, dtype=torch.double)
    near = torch.tensor([[1e-6, 0, -1e-6]], dtype=torch.double)
    load = load_probability(near, near, little, 1)
    torch.testing.assert_close(load, torch.special.ndtr(torch.tensor([[1.0, -1, -2]]).double()))


def test_load_has_finite_gradients_where_the_noise_vanishes():
    x = torch.full((3, 2), 1.0)
    layer = MixtureOfExperts(2, 4, 4, 2)
    with torch.no_grad():
        layer.gate.w_noise.fill_(-200)  # softplus underflows to 0
    _, routing = layer(x)
    cv_squared(routing.load_E).backward()
    assert torch.isfinite(routing.load_E).all()
    assert all(torch.isfinite(p.grad).all() for p in layer.gate.parameters())


def test_k_equal_to_the_experts_is_always_full_load():
    layer = MixtureOfExperts(4, 4, 3, 3)
    _, routing = layer(torch.randn(7, 4))
    assert torch.equal(routing.load_E, torch.full((3,), 7.0))


def train_on_skewed_input(weight: float) -> float:
    """Train to fit a target that one expert can learn first; return max/mean load."""
    torch.manual_seed(3)
    dim, experts = 8, 8
    layer = MixtureOfExperts(dim, 16, experts, 2)
    centre = torch.randn(dim) * 3  # all tokens look alike: a skewed input
    target = torch.nn.Linear(dim, dim)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    with torch.no_grad():  # one expert is ahead
        layer.gate.w_gate[:, 0] += 0.2 * centre / centre.norm()
    for _ in range(300):
        x = centre + 0.3 * torch.randn(256, dim)
        y, routing = layer(x)
        loss = (y - target(x).detach()).square().mean()
        balance = cv_squared(routing.importance_E) + cv_squared(routing.load_E)
        (loss + weight * balance).backward()
        optimizer.step()
        optimizer.zero_grad()
    _, routing = layer(centre + 0.3 * torch.randn(4096, dim))
    return max_over_mean(routing.counts_E.double()).item()


def test_without_losses_experts_take_over_and_with_them_all_are_used():
    # k = 2 of 8 experts: 4 is the most one expert can have.
    assert train_on_skewed_input(0.0) > 3.5
    assert train_on_skewed_input(0.1) < 1.5
