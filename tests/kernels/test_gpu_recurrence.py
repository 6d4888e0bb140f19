"""Whole LSTM layers by the kernels for GPUs, and what cells in float32 are worth in bfloat16.

On a GPU if there is one, else in Triton's interpreter, which ``tests/conftest.py`` chooses.
"""

import copy

import pytest
import torch
from torch import Tensor, nn

from nmt_moe.kernels import gpu
from nmt_moe.kernels.cpu.recurrence import Weights
from nmt_moe.models import recurrence
from nmt_moe.models.attention import ATTENTIONS
from nmt_moe.models.lstm import LSTM, AttentionLSTM

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
STEPS, BATCH, POSITIONS, DIM, CELLS = 3, 2, 5, 6, 10


@pytest.fixture
def by_loops(monkeypatch):
    """No code in C, so that a CPU does what a GPU does."""
    monkeypatch.setattr(recurrence, "precision", lambda *_: None)


@pytest.fixture
def by_kernels(by_loops, monkeypatch):
    pytest.importorskip("triton")
    from nmt_moe.kernels.gpu import attention, cell

    called = set()
    if DEVICE == "cpu":
        for name in ("can_recur", "can_attend"):
            monkeypatch.setattr(gpu, name, lambda x, *_: x.dtype != torch.float64)
    kernels = [(cell, "step"), (cell, "step_backward")]
    kernels += [(attention, "attend"), (attention, "attend_backward")]

    def spied(key):
        real = getattr(*key)

        def spy(*args):
            called.add(key)
            real(*args)

        return spy

    for module, name in kernels:
        monkeypatch.setattr(module, name, spied((module, name)))
    yield
    assert called == set(kernels)


class Fixed(nn.Module):
    """The same factors in each call."""

    def __init__(self, mask_BM: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask_BM", mask_BM)

    def forward(self, x_LBD: Tensor, width: int, attends: bool = False) -> tuple[Tensor, Tensor]:
        return x_LBD, self.mask_BM


def results(modules: list[nn.Module], inputs: list[Tensor], pad_BS: Tensor) -> list[Tensor]:
    """Outputs and gradients of a layer with attention and of one without."""
    layer, attention, plain = modules
    x_LBD, source_SBD, h_BD, c_BC = inputs
    source_BSD = source_SBD.transpose(0, 1)
    keys = attention.keys(source_BSD)
    y, context, weights, last = layer(x_LBD, attention, keys, source_BSD, pad_BS, (h_BD, c_BC))
    z, after = plain(y, last)
    outputs = [y, context, weights, *last, z, *after]
    torch.manual_seed(2)
    total = sum((v.double() * torch.randn(v.shape).double().to(DEVICE)).sum() for v in outputs)
    parameters = [p for module in modules for p in module.parameters()]
    return outputs + list(torch.autograd.grad(total, inputs + parameters))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize("cells", [CELLS, DIM])
def test_layers_by_the_kernels_are_those_of_float64(cells, kind, dtype, by_kernels):
    torch.manual_seed(0)
    modules = [AttentionLSTM(DIM, cells), ATTENTIONS[kind](DIM), LSTM(DIM, DIM, cells)]
    modules[2].dropout = Fixed(torch.rand(BATCH, DIM))
    if cells == DIM:
        modules[0].dropout = Fixed(torch.rand(BATCH, 2 * DIM))
    for module in modules:
        module.to(DEVICE, dtype)
    shapes = [(STEPS, BATCH, DIM), (POSITIONS, BATCH, DIM), (BATCH, DIM)]
    inputs = [torch.randn(shape).to(DEVICE, dtype).requires_grad_() for shape in shapes]
    inputs.append(torch.randn(BATCH, cells).to(DEVICE).requires_grad_())
    pad_BS = torch.zeros(BATCH, POSITIONS, dtype=torch.bool, device=DEVICE)
    pad_BS[0, 2:] = True
    found = results(modules, inputs, pad_BS)
    wide = [copy.deepcopy(module).double() for module in modules]
    expected = results(wide, [x.detach().double().requires_grad_() for x in inputs], pad_BS)
    assert found[0].dtype == dtype and found[4].dtype == torch.float32
    for a, b in zip(found, expected, strict=True):
        error = (a.double() - b).norm() / b.norm()
        assert error <= (0.04 if dtype == torch.bfloat16 else 1e-5)


def in_a_loop(inputs_LBG: Tensor, h_BD: Tensor, c_BC: Tensor, recurrent_GD: Tensor) -> Tensor:
    """An LSTM all in the type of its tensors."""
    outputs = []
    for sums_BG in inputs_LBG:
        i, f, g, o = (sums_BG + h_BD @ recurrent_GD.t()).chunk(4, 1)
        c_BC = f.sigmoid() * c_BC + i.sigmoid() * g.tanh()
        h_BD = o.sigmoid() * c_BC.tanh()
        outputs.append(h_BD)
    return torch.stack(outputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_cells_of_float32_keep_what_many_steps_sum_up(dtype, by_loops):
    """Gates that forget next to nothing, over 60 steps: the gradient of the recurrent weight."""
    torch.manual_seed(0)
    steps, batch, cells = 60, 16, 24
    inputs_LBG = torch.randn(steps, batch, 4 * cells)
    inputs_LBG[:, :, cells : 2 * cells] += 5
    recurrent_GD = torch.randn(4 * cells, cells) * cells**-0.5
    tensors = [x.to(DEVICE, dtype) for x in (inputs_LBG, torch.zeros(batch, cells), recurrent_GD)]
    weigh_LBD = torch.randn(steps, batch, cells).to(DEVICE, dtype)

    def gradient(dtype: torch.dtype, run) -> Tensor:
        inputs_LBG, zero_BC, recurrent_GD = (x.to(dtype, copy=True) for x in tensors)
        recurrent_GD.requires_grad_()
        out_LBD = run(inputs_LBG, zero_BC, recurrent_GD)
        assert out_LBD.dtype == dtype
        return torch.autograd.grad((out_LBD * weigh_LBD).sum(), recurrent_GD)[0].double()

    def ours(inputs_LBG: Tensor, zero_BC: Tensor, recurrent_GD: Tensor) -> Tensor:
        return recurrence.run(inputs_LBG, (zero_BC, zero_BC), Weights(recurrent_GD, None))[0]

    def narrow(inputs_LBG: Tensor, zero_BC: Tensor, recurrent_GD: Tensor) -> Tensor:
        return in_a_loop(inputs_LBG, zero_BC, zero_BC, recurrent_GD)

    right = gradient(torch.float64, narrow)
    errors = [
        ((gradient(dtype, run) - right).norm() / right.norm()).item() for run in (ours, narrow)
    ]
    assert errors[0] < errors[1] / 2
    assert errors[0] < (0.05 if dtype == torch.bfloat16 else 0.01), errors


def test_cells_go_on_in_float32(by_loops):
    """A search, which takes one step at a time, has those of a training."""
    torch.manual_seed(0)
    layer, attention = AttentionLSTM(DIM, CELLS).bfloat16(), ATTENTIONS["dot"](DIM).bfloat16()
    x_LBD, source_BSD = torch.randn(20, 2, DIM).bfloat16(), torch.randn(2, 3, DIM).bfloat16()
    read = (attention, attention.keys(source_BSD), source_BSD, torch.zeros(2, 3).bool())
    with torch.no_grad():
        _, _, _, (_, whole_BC) = layer(x_LBD, *read)
        state = None
        for x_BD in x_LBD:
            *_, state = layer(x_BD[None], *read, state)
    assert whole_BC.dtype == torch.float32
    assert torch.equal(state[1], whole_BC)
