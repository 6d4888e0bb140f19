"""One step of an LSTM, forward and backward, written into preallocated tensors.

Gates are in the order of ``torch.nn.LSTM``: input, forget, candidate, output; ``G`` is ``4*C``.
"""

import torch
from torch import Tensor


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
