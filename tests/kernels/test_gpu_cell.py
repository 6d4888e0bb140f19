"""The kernel of an LSTM's cell against loops in float64, and whole layers by it.

On a GPU if there is one, else in Triton's interpreter, which ``tests/conftest.py`` chooses.
"""

import pytest
import torch
from torch import Tensor

from tests.kernels.gpus import DEVICE, assert_close

# isort: split
from nmt_moe.kernels import gpu
from nmt_moe.kernels.gpu import cell
from nmt_moe.models.cell import lean_step, lean_step_backward

ERRORS = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def cells_and_output(gates_BG: Tensor, before_BC: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates_BG.chunk(4, 1)
    cells_BC = f.sigmoid() * before_BC + i.sigmoid() * g.tanh()
    return cells_BC, o.sigmoid() * cells_BC.tanh()


def inputs(batch: int, cells: int, dtype: torch.dtype) -> list[Tensor]:
    """Gates, cells, and the gradients of output and cells; some rows lie apart."""
    torch.manual_seed(0)
    gates_BG = (3 * torch.randn(batch, 4 * cells + 3)).to(DEVICE, dtype)[:, : 4 * cells]
    dout_BC = torch.randn(batch, 2 * cells).to(DEVICE, dtype)[:, cells:]
    before_BC, dcells_BC = (torch.randn(batch, cells).to(DEVICE) for _ in range(2))
    return [gates_BG, before_BC, dout_BC, dcells_BC]


@pytest.mark.parametrize("by", ["kernel", "torch"])
@pytest.mark.parametrize("dtype", ERRORS, ids=str)
@pytest.mark.parametrize("sizes", [(3, 5), (2, 1030), (1, 1), (0, 4)])
def test_a_step_and_its_gradients(sizes, dtype, by):
    step, backward = (cell.step, cell.step_backward) if by == "kernel" else TORCHS
    gates_BG, before_BC, dout_BC, dcells_BC = inputs(*sizes, dtype)
    cells_BC = torch.empty_like(before_BC)
    dgates_BG = gates_BG.new_empty(sizes[0], 5 * sizes[1])[:, sizes[1] :]
    out_BC = torch.empty_like(gates_BG)[:, : sizes[1]]
    step(gates_BG, before_BC, cells_BC, out_BC)
    wide = [x.double().requires_grad_() for x in (gates_BG, before_BC)]
    right = cells_and_output(*wide)
    assert cells_BC.dtype == torch.float32
    assert_close(cells_BC, right[0], 2e-6)
    assert_close(out_BC, right[1], ERRORS[dtype])
    given = (dcells_BC.double(), dout_BC.double())
    expected = torch.autograd.grad(right, wide, given)
    backward(gates_BG, before_BC, dout_BC, dcells_BC, dgates_BG)
    assert_close(dgates_BG, expected[0], ERRORS[dtype])
    assert_close(dcells_BC, expected[1], 2e-6)


def by_torch(function):
    """As on a machine without Triton."""

    def call(*tensors: Tensor) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gpu, "can_recur", lambda _: False)
            function(*tensors)

    return call


TORCHS = by_torch(lean_step), by_torch(lean_step_backward)


def test_functions_are_right_to_the_last_bits():
    x = torch.cat([torch.logspace(-30, 2, 500), torch.tensor([0.0, 0.2499, 0.25, 0.2501, 1e30])])
    x = torch.cat([x, -x]).to(DEVICE)
    full = torch.full_like(x, 50)
    cells, out = torch.empty_like(x)[None], torch.empty_like(x)[None]
    # Gates: input, forget, candidate, output.
    cell.step(torch.cat([full, full, x, full])[None], torch.zeros_like(cells), cells, out)
    right = x.double().tanh()
    assert ((cells[0] - right).abs() <= 1e-6 * right.abs() + 1e-37).all()
    cell.step(torch.cat([x, full, full, full])[None], torch.zeros_like(cells), cells, out)
    right = x.double().sigmoid()
    # A GPU's exponential is that of a rounded product.
    assert ((cells[0] - right).abs() <= (1e-6 + 2e-7 * x.abs()) * right + 1e-37).all()


def test_nan_and_infinity_stay_in_their_rows():
    gates_BG, before_BC, dout_BC, dcells_BC = inputs(4, 3, torch.float32)
    gates_BG[1], gates_BG[2], before_BC[3, 0] = float("nan"), float("inf"), float("nan")
    cells_BC, out_BC = torch.empty_like(before_BC), torch.empty_like(before_BC)
    dgates_BG = torch.empty_like(gates_BG)
    cell.step(gates_BG, before_BC, cells_BC, out_BC)
    cell.step_backward(gates_BG, before_BC, dout_BC, dcells_BC, dgates_BG)
    assert cells_BC[1].isnan().all() and out_BC[1].isnan().all() and dgates_BG[1].isnan().all()
    assert_close(cells_BC[2], before_BC[2] + 1, 1e-6)
    assert cells_BC[3].isnan().tolist() == [True, False, False]
    assert cells_BC[0].isfinite().all() and dgates_BG[[0, 2]].isfinite().all()
