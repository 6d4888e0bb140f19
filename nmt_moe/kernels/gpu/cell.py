"""One step of an LSTM on a GPU in one kernel each way, in Triton.

All arithmetic and the cells are float32. The gates are not kept: the backward pass computes them
anew from the pre-activations that the forward pass read, so that both have the same ones to the
last bit, whatever type these are of. Gates are in the order of ``torch.nn.LSTM``: input, forget,
candidate, output; ``G`` is ``4*C``.
"""

import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024  # cells of a program


@triton.jit
def sigmoid(x):
    return 1 / (1 + tl.exp(-x))


@triton.jit
def tanh(x):
    size = tl.abs(x)
    e = tl.exp(-2 * size)
    far = (1 - e) / (1 + e)
    # Near 0 most digits of 1 - e would be lost; this is the series of the function.
    s = x * x
    near = x * (1 - s * (1 / 3 - s * (2 / 15 - s * (17 / 315 - s * (62 / 2835)))))
    return tl.where(size < 0.25, near, tl.where(x < 0, -far, far))


@triton.jit
def _gates(at, inside, C):
    """Of a row's pre-activations, those of its cells ``C`` numbers apart."""
    i = sigmoid(tl.load(at, inside, 0).to(tl.float32))
    f = sigmoid(tl.load(at + C, inside, 0).to(tl.float32))
    g = tanh(tl.load(at + 2 * C, inside, 0).to(tl.float32))
    o = sigmoid(tl.load(at + 3 * C, inside, 0).to(tl.float32))
    return i, f, g, o


@triton.jit
def _step(gates, before, cells, out, gates_row, out_row, C, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < C
    i, f, g, o = _gates(gates + row * gates_row + column, inside, C)
    c = f * tl.load(before + row * C + column, inside, 0) + i * g
    tl.store(cells + row * C + column, c, inside)
    tl.store(out + row * out_row + column, (o * tanh(c)).to(out.dtype.element_ty), inside)


@triton.jit
def _step_backward(
    gates, before, dout, dcells, dgates, gates_row, dout_row, dgates_row, C, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < C
    i, f, g, o = _gates(gates + row * gates_row + column, inside, C)
    c_before = tl.load(before + row * C + column, inside, 0)
    t = tanh(f * c_before + i * g)
    d = tl.load(dout + row * dout_row + column, inside, 0).to(tl.float32)
    dc = tl.load(dcells + row * C + column, inside, 0) + d * o * (1 - t * t)
    to = dgates + row * dgates_row + column
    tl.store(to, (dc * g * i * (1 - i)).to(to.dtype.element_ty), inside)
    tl.store(to + C, (dc * c_before * f * (1 - f)).to(to.dtype.element_ty), inside)
    tl.store(to + 2 * C, (dc * i * (1 - g * g)).to(to.dtype.element_ty), inside)
    tl.store(to + 3 * C, (d * t * o * (1 - o)).to(to.dtype.element_ty), inside)
    tl.store(dcells + row * C + column, dc * f, inside)


def step(gates_BG: Tensor, before_BC: Tensor, cells_BC: Tensor, out_BC: Tensor) -> None:
    """Compute the cells and the output before its projection.

    Args:
        gates_BG: the gates' pre-activations: float32, bfloat16 or float16, as ``out_BC``.
        before_BC: the cells before this step: float32, contiguous.
        cells_BC: filled with the cells after it, likewise.
        out_BC: filled with the output.
    """
    if cells_BC.numel():
        grid, sizes = _grid(cells_BC)
        strides = (gates_BG.stride(0), out_BC.stride(0))
        _step[grid](gates_BG, before_BC, cells_BC, out_BC, *strides, *sizes)


def step_backward(
    gates_BG: Tensor, before_BC: Tensor, dout_BC: Tensor, dcells_BC: Tensor, dgates_BG: Tensor
) -> None:
    """Compute the gradient of the gates' pre-activations from that of the output.

    Args:
        gates_BG: as in :func:`step`.
        before_BC: likewise.
        dout_BC: the gradient of the output.
        dcells_BC: float32, contiguous: the gradient of the cells after this step, from later steps;
            overwritten with that of the cells before it.
        dgates_BG: filled with the result.
    """
    if dcells_BC.numel():
        grid, sizes = _grid(dcells_BC)
        strides = (gates_BG.stride(0), dout_BC.stride(0), dgates_BG.stride(0))
        _step_backward[grid](gates_BG, before_BC, dout_BC, dcells_BC, dgates_BG, *strides, *sizes)


def _grid(cells_BC: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
    """Of programs, and the number of cells and those of a program."""
    batch, cells = cells_BC.shape
    block = min(_BLOCK, triton.next_power_of_2(cells))
    return (batch, triton.cdiv(cells, block)), (cells, block)
