"""The torch optimizer, against torch's Adam and against plain loops."""

import io
import math

import pytest
import torch
from torch import Tensor, nn

from nmt_moe.optim import factored
from nmt_moe.optim.moe_adam import MoEAdam
from nmt_moe.optim.split import join


def expert(values: Tensor) -> nn.Parameter:
    """A parameter that is marked as a stack of expert matrices."""
    param = nn.Parameter(values.clone())
    param.param_group = "experts"
    return param


def twins(dtype: torch.dtype = torch.float32) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """An expert matrix and two dense parameters, twice."""
    torch.manual_seed(3)
    values = [torch.randn(*shape).to(dtype) for shape in ((5, 6, 7), (9, 4), (4,))]
    first, second = (
        [expert(values[0]), *(nn.Parameter(value.clone()) for value in values[1:])]
        for _ in range(2)
    )
    return first, second


def random_gradients(*models: list[nn.Parameter], unused: tuple[int, ...] = ()) -> None:
    """The same gradients of changing size for all; none for the ``unused`` experts."""
    for params in zip(*models, strict=True):
        grad = torch.randn_like(params[0]) * 10 ** torch.empty(()).uniform_(-4, 1).item()
        if hasattr(params[0], "param_group"):
            grad[list(unused)] = 0
        for param in params:
            param.grad = grad.clone()


def state_of(optimizer: MoEAdam, param: nn.Parameter) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in optimizer.state[param].items()}


def reference_step(
    weights: list[Tensor], grads: list[Tensor], state: list[dict], unused_too: bool, options: dict
) -> None:
    """The update in float64, expert by expert, as appendix D and Adam's paper have it."""
    for weight, grad, own in zip(weights, grads, state, strict=True):
        if not grad.any() and not unused_too:
            continue
        beta2 = options["betas"][1]
        own["updates"] += 1
        own["row"] = beta2 * own["row"] + (1 - beta2) * (grad**2).mean(1)
        own["column"] = beta2 * own["column"] + (1 - beta2) * (grad**2).mean(0)
        moment = torch.zeros_like(grad)
        if own["row"].any():
            moment = torch.outer(own["row"], own["column"]) / own["row"].mean()
        corrected = moment / (1 - beta2 ** own["updates"])
        weight -= options["lr"] * options["weight_decay"] * weight
        weight -= options["lr"] * grad / (corrected.sqrt() + options["eps"])


OPTIONS = {"lr": 0.01, "betas": (0.9, 0.97), "eps": 1e-6, "weight_decay": 0.1}


@pytest.mark.parametrize("unused_too", [False, True])
@pytest.mark.parametrize("chunk", [1, 2 * 6 * 7, 10**6])
def test_agrees_with_a_loop_over_experts(chunk, unused_too, monkeypatch):
    """Several chunks, the last one smaller; experts that start late, stop, and start again."""
    monkeypatch.setattr(factored, "_chunk", lambda device: chunk)
    torch.manual_seed(chunk)
    param = expert(torch.randn(5, 6, 7))
    optimizer = MoEAdam([param], update_unused=unused_too, **OPTIONS)
    weights = list(param.detach().double())
    zeros = {"row": torch.zeros(6).double(), "column": torch.zeros(7).double()}
    state = [{"updates": 0} | zeros for _ in weights]
    for step in range(12):
        param.grad = torch.randn_like(param) * 10.0 ** -torch.randint(0, 6, (5, 1, 1))
        param.grad[torch.rand(5) < 0.4] = 0
        param.grad[4] *= step > 5
        reference_step(weights, list(param.grad.double()), state, unused_too, OPTIONS)
        optimizer.step()
        torch.testing.assert_close(param.double(), torch.stack(weights), rtol=1e-5, atol=1e-6)
    got = optimizer.state[param]
    assert got["updates"].tolist() == [own["updates"] for own in state]
    assert (got["updates"].unique().tolist() == [12.0]) == unused_too
    for name in ("row", "column"):
        want = torch.stack([own[name] for own in state])
        torch.testing.assert_close(got[name].double(), want, rtol=1e-5, atol=0)


def test_is_adam_where_the_squared_gradient_has_rank_one():
    """Sizes, signs and the learning rate change from step to step, the structure does not."""
    torch.manual_seed(0)
    param, twin = expert(torch.zeros(3, 6, 7)), nn.Parameter(torch.zeros(3, 6, 7))
    options = {"betas": (0.0, 0.999), "eps": 1e-3}
    optimizer, adam = MoEAdam([param], **options), torch.optim.Adam([twin], **options)
    structure = (0.1 + torch.rand(3, 6, 1)) * (0.1 + torch.rand(3, 1, 7))
    for step in range(20):
        optimizer.param_groups[0]["lr"] = adam.param_groups[0]["lr"] = 0.1 / (step + 1)
        signs = torch.randint(0, 2, param.shape) * 2 - 1
        param.grad = structure * signs * (0.1 + torch.rand(3, 1, 1))
        twin.grad = param.grad.clone()
        for optimized in (param, twin):
            optimized.data.zero_()  # so that what is compared is the update itself
        optimizer.step()
        adam.step()
        torch.testing.assert_close(param, twin, rtol=1e-6, atol=0)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_dense_parameters_and_all_plain_ones_are_updated_by_torchs_adam(plain, weight_decay):
    ours, theirs = twins()
    options = {"lr": 0.01, "betas": (0.9, 0.98), "weight_decay": weight_decay}
    fused = options | {"fused": True}
    optimizer = MoEAdam(ours, plain=plain, **options)
    adam = torch.optim.AdamW(theirs, **fused)
    if not weight_decay:
        adam = torch.optim.Adam(theirs, **fused)
    for _ in range(50):
        random_gradients(ours, theirs, unused=(1,))
        optimizer.step()
        adam.step()
        same = [torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)]
        assert same == [plain, True, True]


def test_the_state_of_an_expert_layer_is_under_a_hundredth_of_adams():
    params = [expert(torch.randn(2, 512, 1024)), expert(torch.randn(2, 1024, 512))]
    sizes = {}
    for plain in (False, True):
        optimizer = MoEAdam(params, plain=plain)
        for param in params:
            param.grad = torch.ones_like(param)
        optimizer.step()
        tensors = [leaf for state in optimizer.state.values() for leaf in state.values()]
        sizes[plain] = sum(leaf.numel() * leaf.element_size() for leaf in tensors)
    assert sizes[False] == 4 * 2 * 2 * (512 + 1024 + 1)
    assert sizes[False] < sizes[True] / 100
    assert sizes[True] == pytest.approx(2 * 4 * sum(param.numel() for param in params), rel=1e-4)


def test_an_expert_without_a_gradient_is_left_as_it_was():
    (param, *_), _ = twins()
    optimizer = MoEAdam([param], lr=0.1, weight_decay=0.1)
    for unused in ((), (1, 3), (1, 2), (0, 1, 2, 3, 4)):
        before = param.detach().clone(), state_of(optimizer, param)
        random_gradients([param], unused=unused)
        optimizer.step()
        for e in range(5):
            assert torch.equal(param[e], before[0][e]) == (e in unused)
            for name, value in before[1].items():
                assert torch.equal(optimizer.state[param][name][e], value[e]) == (e in unused)
    assert optimizer.state[param]["updates"].tolist() == [3, 1, 2, 2, 3]


def test_an_expert_that_never_had_a_gradient_stays_finite():
    param = expert(torch.randn(2, 3, 4))
    optimizer = MoEAdam([param], update_unused=True)
    before = param.detach().clone()
    for _ in range(3):
        param.grad = torch.zeros_like(param)
        optimizer.step()
    assert torch.equal(param, before)


def test_on_request_an_expert_without_a_gradient_decays():
    (param, *_), _ = twins()
    optimizer = MoEAdam([param], lr=0.1, weight_decay=0.1, betas=(0.9, 0.5), update_unused=True)
    random_gradients([param])
    optimizer.step()
    before = param.detach().clone(), state_of(optimizer, param)
    random_gradients([param], unused=(2,))
    optimizer.step()
    torch.testing.assert_close(param[2], before[0][2] * (1 - 0.1 * 0.1))
    for name in ("row", "column"):
        assert torch.equal(optimizer.state[param][name][2], before[1][name][2] / 2)
    assert optimizer.state[param]["updates"].tolist() == [2] * 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("plain", [False, True])
def test_goes_on_from_saved_state_bit_by_bit(dtype, plain):
    """Through a file, with types that need no trust; state is float32 whatever the weights."""
    ours, theirs = twins(dtype)
    options = {"lr": 0.01, "weight_decay": 0.1, "plain": plain}
    first = MoEAdam(ours, **options)
    for unused in ((1, 2), (1,), ()):
        random_gradients(ours, unused=unused)
        first.step()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = MoEAdam(theirs)
    second.load_state_dict(torch.load(file, weights_only=True))
    for param, twin in zip(ours, theirs, strict=True):
        twin.data.copy_(param)
    for step in range(3):
        for param, twin in zip(ours, theirs, strict=True):
            assert param.dtype == dtype and torch.equal(param, twin)
            got, want = second.state[twin], first.state[param]
            assert got.keys() == want.keys()
            assert ("remainder" in got) == (dtype == torch.bfloat16)
            for name, leaf in got.items():
                assert leaf.dtype == (torch.int16 if name == "remainder" else torch.float32)
            assert all(torch.equal(got[name], want[name]) for name in want)
        random_gradients(ours, theirs, unused=(step,))
        first.step()
        second.step()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    ours, theirs = twins(dtype)
    theirs = [nn.Parameter(param.detach().float()) for param in theirs]
    theirs[0].param_group = "experts"
    optimizers = [MoEAdam(params, weight_decay=0.1) for params in (ours, theirs)]
    random_gradients(ours, unused=(1,))
    for param, twin in zip(ours, theirs, strict=True):
        twin.grad = param.grad.float()
    for optimizer in optimizers:
        optimizer.step()
    for param, twin in zip(ours, theirs, strict=True):
        assert torch.equal(param, twin.to(dtype))
        states = [optimizers[0].state[param], optimizers[1].state[twin]]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("chunk", [1, 10**6])
def test_bfloat16_and_its_remainders_are_float32_bit_by_bit(chunk, plain, monkeypatch):
    """At a rate at which bfloat16 alone would stay as it is."""
    monkeypatch.setattr(factored, "_chunk", lambda device: chunk)
    ours, theirs = twins(torch.bfloat16)
    theirs = [nn.Parameter(param.detach().float()) for param in theirs]
    theirs[0].param_group = "experts"
    begun = [param.detach().clone() for param in ours]
    options = {"lr": 1e-5, "weight_decay": 0.1, "plain": plain}
    optimizers = [MoEAdam(params, **options) for params in (ours, theirs)]
    for step in range(30):
        random_gradients(ours, unused=(1, step % 5))
        for param, twin in zip(ours, theirs, strict=True):
            twin.grad = param.grad.float()
        for optimizer in optimizers:
            optimizer.step()
    for param, twin, first in zip(ours, theirs, begun, strict=True):
        assert torch.equal(join(param, optimizers[0].state[param]["remainder"]), twin)
        assert not torch.equal(first.float(), twin)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_remainders_are_read_where_they_are_and_needed(dtype):
    (saved, *_), _ = twins(torch.bfloat16)
    first = MoEAdam([saved], lr=0.01)
    random_gradients([saved])
    first.step()
    state = first.state_dict()
    param = expert(saved.detach().to(dtype))
    second = MoEAdam([param])
    second.load_state_dict(state)
    assert ("remainder" in second.state[param]) == (dtype == torch.bfloat16)
    assert "remainder" in first.state[saved]
    del state["state"][0]["remainder"]  # as it was saved once
    second.load_state_dict(state)
    random_gradients([param])
    second.step()
    assert ("remainder" in second.state[param]) == (dtype == torch.bfloat16)


def test_float64_is_computed_in_float64():
    param = expert(torch.zeros(1, 2, 3, dtype=torch.float64))
    optimizer = MoEAdam([param], lr=1.0, eps=1e-8)
    param.grad = torch.full_like(param, math.pi)
    optimizer.step()
    want = torch.full_like(param, -math.pi / (math.pi + 1e-8))
    torch.testing.assert_close(param, want, rtol=1e-14, atol=0)


def test_a_closure_is_evaluated_with_gradients():
    (param, *_), _ = twins()
    optimizer = MoEAdam([param], lr=0.01)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = param.square().sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(5)]
    assert losses == sorted(losses, reverse=True)
