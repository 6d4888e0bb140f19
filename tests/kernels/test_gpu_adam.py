"""The optimizer's kernels for GPUs against plain loops: see ``gpus.py`` for what they run on."""

import pytest
import torch
from fairseq.optim.adam import Adam
from torch import Tensor, nn

import nmt_moe.plugin  # noqa: F401 (applies the fixes)
from tests.kernels.gpus import DEVICE, ON_GPU, assert_close

# isort: split
from nmt_moe.kernels import gpu
from nmt_moe.kernels.gpu.adam import adam_, factored_, mean_squares
from nmt_moe.optim.fairseq_adam import FairseqMoEAdam, FairseqMoEAdamConfig
from nmt_moe.optim.split import join, split_

OPTIONS = dict(lr=0.01, eps=1e-6, weight_decay=0.1)


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    weight = torch.empty(x.shape, dtype=torch.bfloat16, device=DEVICE)
    remainder = torch.empty(x.shape, dtype=torch.int16, device=DEVICE)
    split_(x.to(DEVICE), weight, remainder)
    return weight, remainder


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, device=DEVICE)


def gradient(*shape: int) -> Tensor:
    return torch.randn(shape).bfloat16().to(DEVICE)


def test_the_halves_are_those_of_torch():
    """An update that adds nothing; the numbers have upper halves of all kinds, and ties."""
    upper = torch.cat(
        [torch.arange(-(2**15), 2**15, 97), torch.tensor([0, 0x7F7F, -0x8000, -0x81])]
    )
    upper = upper.int() << 16
    bits = torch.cat([upper + low for low in (0, 1, 0x7FFF, 0x8000, 0xFFFF)])
    x = bits.view(torch.float32)
    x = x[~x.isnan()]
    weight, remainder = halves(x)
    kept = weight.clone(), remainder.clone()
    moments = zeros(len(x)), zeros(len(x))
    nothing = zeros(len(x)).bfloat16()
    options = OPTIONS | dict(lr=0.0)
    adam_(weight, remainder, nothing, *moments, 1.0, step=1, betas=(0.9, 0.9), **options)
    assert torch.equal(weight.view(torch.int16), kept[0].view(torch.int16))
    assert torch.equal(remainder, kept[1])


def test_a_nan_stays_one_and_a_zero_of_somebody_else_becomes_none():
    weight = torch.tensor([torch.nan, torch.inf, 0.0, -0.0, 1.0]).bfloat16().to(DEVICE)
    remainder = torch.tensor([0, 0, -5, -5, 0], dtype=torch.int16).to(DEVICE)
    grad = torch.tensor([0, 0, 0, 0, torch.nan]).bfloat16().to(DEVICE)
    adam_(weight, remainder, grad, zeros(5), zeros(5), 1.0, step=1, betas=(0.9, 0.9), **OPTIONS)
    found = join(weight, remainder)
    assert found.isnan().tolist() == [True, False, False, False, True]
    assert found[1:4].tolist() == [torch.inf, 0, 0]


@pytest.mark.parametrize("numbers", [0, 1, 1024, 2500])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_adam(numbers, as_tensor):
    torch.manual_seed(numbers)
    x = torch.randn(numbers).to(DEVICE)
    weight, remainder = halves(x)
    moments = zeros(numbers), zeros(numbers)
    right, first, second = x.double(), *(moment.double() for moment in moments)
    scale, (beta1, beta2) = 0.3, (0.9, 0.97)
    given = torch.tensor(scale, device=DEVICE) if as_tensor else scale
    for step in range(1, 4):
        grad = gradient(numbers) * 10.0**-step
        options = OPTIONS | dict(step=step, betas=(beta1, beta2))
        adam_(weight, remainder, grad, *moments, given, **options)
        g = scale * grad.double()
        first = beta1 * first + (1 - beta1) * g
        second = beta2 * second + (1 - beta2) * g**2
        right = right * (1 - OPTIONS["lr"] * OPTIONS["weight_decay"])
        root = (second / (1 - beta2**step)).sqrt() + OPTIONS["eps"]
        right = right - OPTIONS["lr"] * first / (1 - beta1**step) / root
    assert_close(join(weight, remainder), right, 1e-6)
    assert_close(moments[0], first, 1e-6)
    assert_close(moments[1], second, 1e-6)


def reference(
    x: Tensor, grad: Tensor, state: list[Tensor], scale: float, beta2: float, unused_too: bool
) -> None:
    """The update in float64, expert by expert, as appendix D and Adam's paper have it."""
    row, column, updates = state
    for e in range(len(x)):
        g = scale * grad[e].double()
        if not g.any() and not unused_too:
            continue
        updates[e] += 1
        row[e] = beta2 * row[e] + (1 - beta2) * (g**2).mean(1)
        column[e] = beta2 * column[e] + (1 - beta2) * (g**2).mean(0)
        moment = torch.outer(row[e], column[e]) / row[e].mean() if row[e].any() else 0 * g
        root = (moment / (1 - beta2 ** updates[e])).sqrt() + OPTIONS["eps"]
        x[e] *= 1 - OPTIONS["lr"] * OPTIONS["weight_decay"]
        x[e] -= OPTIONS["lr"] * g / root


@pytest.mark.parametrize("unused_too", [False, True])
@pytest.mark.parametrize("beta2", [0.97, 0.0])
@pytest.mark.parametrize("shape", [(5, 70, 131), (3, 1, 1), (2, 3, 300)])
def test_factored(shape, beta2, unused_too):
    """Experts that start late, and one without any gradient."""
    torch.manual_seed(1)
    experts, rows, columns = shape
    x = torch.randn(shape).to(DEVICE)
    weight, remainder = halves(x)
    state = [zeros(experts, rows), zeros(experts, columns), zeros(experts)]
    right, right_state = x.double(), [one.double() for one in state]
    scale = torch.tensor(0.3, device=DEVICE)
    options = OPTIONS | dict(beta2=beta2, update_unused=unused_too)
    for step in range(3):
        grad = gradient(*shape) * 10.0**-step
        grad[step % 2] = grad[-1] = 0
        before = weight[-1].clone(), remainder[-1].clone()
        factored_(weight, remainder, grad, *state, mean_squares(grad), scale, **options)
        same = all(map(torch.equal, (weight[-1], remainder[-1]), before))
        assert same != unused_too
        reference(right, grad, right_state, 0.3, beta2, unused_too)
    assert_close(join(weight, remainder), right, 1e-6)
    for found, one in zip(state, right_state, strict=True):
        assert_close(found, one, 1e-5)


def test_mean_squares():
    torch.manual_seed(1)
    grad = gradient(3, 150, 140)
    row, column = mean_squares(grad)
    assert_close(row, grad.double().square().mean(2))
    assert_close(column, grad.double().square().mean(1))


def test_what_is_not_finite_stays_with_its_expert():
    torch.manual_seed(1)
    weight, remainder = halves(torch.randn(4, 5, 6))
    state = [zeros(4, 5), zeros(4, 6), zeros(4)]
    grad = gradient(4, 5, 6)
    grad[1, 2, 3], grad[2, 0, 0] = torch.nan, torch.inf
    options = OPTIONS | dict(beta2=0.9, update_unused=False)
    factored_(weight, remainder, grad, *state, mean_squares(grad), 1.0, **options)
    found = join(weight, remainder).isfinite()
    assert found[[0, 3]].all() and not found[1].any() and not found[2].all()


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_no_numbers(shape):
    weight, remainder = halves(torch.empty(shape))
    state = [zeros(*shape[:2]), zeros(shape[0], shape[2]), zeros(shape[0])]
    grad = gradient(*shape)
    options = OPTIONS | dict(beta2=0.9, update_unused=True)
    factored_(weight, remainder, grad, *state, mean_squares(grad), 1.0, **options)
    assert not any(one.any() for one in state)


def parameters(dtype: torch.dtype) -> list[nn.Parameter]:
    torch.manual_seed(3)
    shapes = ((5, 6, 7), (9, 4), (4,))
    params = [nn.Parameter(torch.randn(s).bfloat16().to(DEVICE, dtype)) for s in shapes]
    params[0].param_group = "experts"
    return params


def allow_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels for tensors of this machine, GPU or not."""
    if not ON_GPU:
        kinds = {torch.bfloat16}
        monkeypatch.setattr(gpu, "can_update", lambda *all: {x.dtype for x in all} == kinds)


def test_fairseqs_adam_is_that_of_float32(monkeypatch):
    allow_here(monkeypatch)
    options = dict(lr=1e-4, eps=1e-3, weight_decay=0.1)
    twins = [parameters(torch.bfloat16), parameters(torch.float32)]
    optimizers = [Adam(params, **options) for params in twins]
    for _ in range(3):
        for ours, theirs in zip(*twins, strict=True):
            ours.grad = gradient(*ours.shape)
            theirs.grad = ours.grad.float()
        for optimizer in optimizers:
            optimizer.step()
    for ours, theirs in zip(*twins, strict=True):
        remainder = optimizers[0].state[ours]["remainder"]
        assert_close(join(ours, remainder), theirs, 1e-6)


@pytest.mark.parametrize("plain", [False, True])
def test_a_training_is_that_of_float32(plain, monkeypatch):
    """Scaled, clipped and updated; the weights are exact to the rounding of the kernels."""
    allow_here(monkeypatch)
    config = FairseqMoEAdamConfig(lr=[1e-4], weight_decay=0.1, moe_adam_plain=plain)
    twins = [parameters(torch.bfloat16), parameters(torch.float32)]
    optimizers = [FairseqMoEAdam(config, params) for params in twins]
    for step in range(4):
        for ours, theirs in zip(*twins, strict=True):
            ours.grad = gradient(*ours.shape)
            theirs.grad = ours.grad.float()
        kept = [param.grad.clone() for param in twins[0]]
        scale = torch.tensor(0.1, device=DEVICE)
        norms = []
        for optimizer in optimizers:
            optimizer.multiply_grads(scale)
            norms.append(optimizer.clip_grad_norm(0.5 if step % 2 else 0.0))
            optimizer.step()
        assert_close(*norms, 1e-6)
        assert all(map(torch.equal, kept, (param.grad for param in twins[0])))
        for optimizer in optimizers:
            optimizer.zero_grad()
    for ours, theirs in zip(*twins, strict=True):
        state = optimizers[0].optimizer.state[ours]
        assert_close(join(ours, state.pop("remainder")), theirs, 1e-6)
        right = optimizers[1].optimizer.state[theirs]
        assert state.keys() == right.keys()
        for name, value in state.items():
            assert_close(value, right[name], 1e-5)


@pytest.mark.skipif(not ON_GPU, reason="no GPU here")
def test_the_host_does_not_wait():
    params = parameters(torch.bfloat16)
    optimizer = FairseqMoEAdam(FairseqMoEAdamConfig(lr=[1e-4]), params)
    scale = torch.tensor(0.1, device=DEVICE)
    for mode in ("default", "error"):  # the first one compiles
        for param in params:
            param.grad = torch.ones_like(param)
        torch.cuda.set_sync_debug_mode(mode)
        try:
            optimizer.multiply_grads(scale)
            optimizer.clip_grad_norm(0.5)
            optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
