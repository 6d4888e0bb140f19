"""One step of an LSTM, forward and backward, written into preallocated tensors.

Gates are in the order of ``torch.nn.LSTM``: input, forget, candidate, output; ``G`` is ``4*C``.
"""

import torch
from torch import Tensor

from nmt_moe.kernels import gpu


def step(
    gates_BG: Tensor, before_BC: Tensor, cells_BC: Tensor, tanh_BC: Tensor, out_BC: Tensor
) -> None:
    """Compute the gates, the cells and the output before its projection.

    Args:
        gates_BG: the pre-activations of the gates; overwritten with the gates.
        before_BC: the cells before this step.
        cells_BC: filled with the cells after this step.
        tanh_BC: filled with their hyperbolic tangent.
        out_BC: filled with the output.
    """
    i, f, g, o = gates_BG.chunk(4, dim=1)
    gates_BG[:, : 2 * i.shape[1]].sigmoid_()
    g.tanh_()
    o.sigmoid_()
    torch.mul(f, before_BC, out=cells_BC).addcmul_(i, g)
    torch.tanh(cells_BC, out=tanh_BC)
    torch.mul(o, tanh_BC, out=out_BC)


def step_backward(
    gates_BG: Tensor,
    before_BC: Tensor,
    tanh_BC: Tensor,
    grad_out_BC: Tensor,
    grad_cells_BC: Tensor,
    grad_gates_BG: Tensor,
) -> None:
    """Compute the gradient of the gates' pre-activations from that of the output.

    Args:
        gates_BG: the gates, as :func:`step` left them.
        before_BC: the cells before the step.
        tanh_BC: as :func:`step` left it.
        grad_out_BC: the gradient of the output; overwritten.
        grad_cells_BC: the gradient of the cells after this step, from later steps; overwritten with
            that of the cells before it.
        grad_gates_BG: filled with the result.
    """
    sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
    tanh_backward = torch.ops.aten.tanh_backward.grad_input
    i, f, g, o = gates_BG.chunk(4, dim=1)
    grad_i, grad_f, grad_g, grad_o = grad_gates_BG.chunk(4, dim=1)
    torch.mul(grad_out_BC, tanh_BC, out=grad_o)
    sigmoid_backward(grad_o, o, grad_input=grad_o)
    grad_cells_BC.add_(tanh_backward(grad_out_BC.mul_(o), tanh_BC, grad_input=grad_out_BC))
    torch.mul(grad_cells_BC, g, out=grad_i)
    torch.mul(grad_cells_BC, before_BC, out=grad_f)
    torch.mul(grad_cells_BC, i, out=grad_g)
    two = slice(2 * i.shape[1])
    sigmoid_backward(grad_gates_BG[:, two], gates_BG[:, two], grad_input=grad_gates_BG[:, two])
    tanh_backward(grad_g, g, grad_input=grad_g)
    grad_cells_BC.mul_(f)


def is_lean(gates: Tensor) -> bool:
    """Whether steps of such pre-activations are those of :func:`lean_step`: by a kernel of a GPU,
    or of numbers too narrow for the cells."""
    return gpu.can_recur(gates) or gates.dtype in (torch.bfloat16, torch.float16)


def lean_step(gates_BG: Tensor, before_BC: Tensor, cells_BC: Tensor, out_BC: Tensor) -> None:
    """Compute the cells and the output before its projection, and keep nothing else.

    Args:
        gates_BG: the pre-activations of the gates.
        before_BC: the cells before this step, float32.
        cells_BC: filled with the cells after it, likewise.
        out_BC: filled with the output.
    """
    if gpu.can_recur(gates_BG):
        from nmt_moe.kernels.gpu import cell  # Triton is not everywhere

        return cell.step(gates_BG, before_BC, cells_BC, out_BC)
    tanh_BC, wide_BC = torch.empty_like(cells_BC), torch.empty_like(cells_BC)
    step(gates_BG.to(cells_BC.dtype, copy=True), before_BC, cells_BC, tanh_BC, wide_BC)
    out_BC.copy_(wide_BC)


def lean_step_backward(
    gates_BG: Tensor,
    before_BC: Tensor,
    grad_out_BC: Tensor,
    grad_cells_BC: Tensor,
    grad_gates_BG: Tensor,
) -> None:
    """Compute what :func:`step_backward` does, and the gates anew.

    Args:
        gates_BG: as in :func:`lean_step`.
        before_BC: likewise.
        grad_out_BC: as in :func:`step_backward`, but left as it is.
        grad_cells_BC: as there, float32.
        grad_gates_BG: filled with the result.
    """
    if gpu.can_recur(gates_BG):
        from nmt_moe.kernels.gpu import cell  # Triton is not everywhere

        return cell.step_backward(gates_BG, before_BC, grad_out_BC, grad_cells_BC, grad_gates_BG)
    wide_BG = gates_BG.to(grad_cells_BC.dtype, copy=True)
    cells_BC, tanh_BC, out_BC = (torch.empty_like(before_BC) for _ in range(3))
    step(wide_BG, before_BC, cells_BC, tanh_BC, out_BC)
    grad_BG = torch.empty_like(wide_BG)
    grad_out_BC = grad_out_BC.to(wide_BG.dtype, copy=True)
    step_backward(wide_BG, before_BC, tanh_BC, grad_out_BC, grad_cells_BC, grad_BG)
    grad_gates_BG.copy_(grad_BG)
