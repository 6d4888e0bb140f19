"""Gradients and activations whose memory is used again are never those that somebody still has."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nmt_moe.kernels.cpu import buffers as kept
from nmt_moe.moe import MixtureOfExperts

TYPES = [torch.float32, torch.float64]


@pytest.fixture(autouse=True)
def _small_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_LARGE", 0)
    monkeypatch.setattr(kept, "_activations", {})


@pytest.fixture
def layer() -> MixtureOfExperts:
    torch.manual_seed(0)
    return MixtureOfExperts(8, 16, 6, 2, "top_k").double()


def expected(layer: MixtureOfExperts, x: Tensor, weight: Tensor) -> Tensor:
    """The gradient, computed without any memory that is used again."""
    before, kept._uses = kept._uses, None
    try:
        return torch.autograd.grad(layer(x)[0].square().sum(), weight)[0]
    finally:
        kept._uses = before


def batches(number: int) -> list[Tensor]:
    # Few tokens: not every expert sees one, and each batch has others.
    return [torch.randn(2, 8, dtype=torch.double) for _ in range(number)]


def test_the_memory_of_a_dropped_gradient_is_used_again(layer):
    weight, places = layer.experts.w_in, []
    for x in batches(4):
        weight.grad = None
        layer(x)[0].square().sum().backward()
        torch.testing.assert_close(weight.grad, expected(layer, x, weight), rtol=0, atol=0)
        places.append(weight.grad.data_ptr())
    assert len(set(places)) == 1


def test_a_gradient_that_is_there_is_added_to(layer):
    weight = layer.experts.w_out
    xs = batches(5)
    for x in xs:
        layer(x)[0].square().sum().backward()
    torch.testing.assert_close(weight.grad, sum(expected(layer, x, weight) for x in xs))


def test_gradients_that_somebody_keeps_do_not_change(layer):
    weight, xs, found = layer.experts.w_in, batches(5), []
    for x in xs:
        layer(x)[0].square().sum().backward()
        found.append(weight.grad)
        weight.grad = None
    views = [torch.autograd.grad(layer(x)[0].square().sum(), weight)[0][1:].view(-1) for x in xs]
    for x, gradient, view in zip(xs, found, views, strict=True):
        right = expected(layer, x, weight)
        torch.testing.assert_close(gradient, right)
        torch.testing.assert_close(view, right[1:].view(-1))


def test_a_layer_that_is_used_twice_in_a_graph(layer):
    x, weight = batches(1)[0], layer.experts.w_in
    for _ in range(3):
        weight.grad = None
        layer(layer(x)[0])[0].square().sum().backward()
    before, kept._uses = kept._uses, None
    right = torch.autograd.grad(layer(layer(x)[0])[0].square().sum(), weight)[0]
    kept._uses = before
    torch.testing.assert_close(weight.grad, right)


def test_a_second_backward_pass_through_a_graph(layer):
    x, weight = batches(1)[0], layer.experts.w_in
    loss = layer(x)[0].square().sum()
    loss.backward(retain_graph=True)
    loss.backward()
    torch.testing.assert_close(weight.grad, 2 * expected(layer, x, weight))


def test_copies_other_types_and_files_have_gradients_of_their_own(layer):
    x, weight = batches(1)[0], layer.experts.w_in
    layer(x)[0].square().sum().backward()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        other.zero_grad()
        other(2 * x)[0].square().sum().backward()
        assert other.experts.w_in.grad.data_ptr() != weight.grad.data_ptr()
    torch.testing.assert_close(weight.grad, expected(layer, x, weight))
    layer.zero_grad()
    layer.float()
    layer(x.float())[0].square().sum().backward()
    assert layer.experts.w_in.grad.dtype == torch.float32


def test_what_is_kept_goes_with_the_weight(layer):
    before = len(kept._kept)
    layer(batches(1)[0])[0].square().sum().backward()
    assert len(kept._kept) == before + 2
    del layer.experts
    assert len(kept._kept) == before


def test_two_threads(layer):
    """Autograd runs the backward pass of a CPU in the thread that asks for it."""
    from concurrent.futures import ThreadPoolExecutor

    weight, xs = layer.experts.w_in, batches(40)

    def gradient(x: Tensor) -> Tensor:
        return torch.autograd.grad(layer(x)[0].square().sum(), weight)[0].clone()

    rights = [expected(layer, x, weight) for x in xs]
    with ThreadPoolExecutor(4) as pool:
        for found, right in zip(pool.map(gradient, xs), rights, strict=True):
            torch.testing.assert_close(found, right)


@given(st.lists(st.integers(0, 5) | st.tuples(st.integers(1, 40), st.sampled_from(TYPES))))
def test_activations_never_share_memory(steps):
    """Any order of tensors that come, of a size and a type, and go, by number."""
    alive: list[tuple[Tensor, float]] = []
    for mark, step in enumerate(steps):
        if isinstance(step, int):
            del alive[step : step + 1]
        else:
            size, dtype = step
            new = kept.empty_activations(torch.empty(0, dtype=dtype), size, 2).fill_(mark)
            assert new.shape == (size, 2) and new.dtype == dtype
            alive.append((new[1:].t(), mark))  # a view is enough
        assert all((x == mark).all() for x, mark in alive)


def test_memory_of_dropped_activations_is_used_again(layer):
    for x in batches(20):
        layer(x)[0].square().sum().backward()
    # Of [A, H]: hidden. Of [A, D]: the experts' output, weighted, and three in the backward pass.
    assert sum(map(len, kept._activations.values())) <= 6


def test_activations_that_somebody_keeps_do_not_change(layer):
    rows, counts = batches(1)[0], [2, 0, 0, 0, 0, 0]
    first = layer.experts(rows, torch.tensor(counts))
    before = first.clone()
    for x in batches(5):
        layer.experts(x, torch.tensor(counts)).sum().backward()
    assert torch.equal(first, before)


def test_activations_can_be_changed_in_place(layer):
    rows = batches(1)[0]
    layer.experts(rows, torch.tensor([2, 0, 0, 0, 0, 0])).mul_(2).sum().backward()


def test_memory_that_nothing_takes_is_given_back(monkeypatch):
    monkeypatch.setattr(kept, "_PATIENCE", 10)
    monkeypatch.setattr(kept, "_CLEANED", 1)
    x = torch.empty(0)
    held = kept.empty_activations(x, 999)
    kept.empty_activations(x, 99)
    for _ in range(11):
        kept.empty_activations(x, 9)
    assert sorted(size for (size, _), some in kept._activations.items() if some) == [16, 1024]
    assert len(held) == 999


def test_activations_of_an_inference_serve_a_training(layer):
    x = batches(1)[0]
    with torch.inference_mode():
        layer(x)
    layer(x)[0].square().sum().backward()
    torch.testing.assert_close(layer.experts.w_in.grad, expected(layer, x, layer.experts.w_in))
