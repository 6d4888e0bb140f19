"""An LSTM with projection for CPUs, faster than torch's own.

Only what depends on the previous step is computed step by step: the products with the inputs and
the gradient of each weight are one product over all steps.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nmt_moe.kernels.cpu import linear as kernel
from nmt_moe.models.cell import step, step_backward
from nmt_moe.models.linear import linear


def run(lstm: nn.LSTM, x_LBI: Tensor, h_BD: Tensor, c_BC: Tensor) -> tuple[Tensor, Tensor]:
    """Run ``lstm``, which has one layer and a projection.

    Returns:
        The outputs ``[L, B, D]`` and the last cells ``[B, C]``.
    """
    w = dict(lstm.named_parameters())
    weights = (w["weight_hh_l0"], w["weight_hr_l0"])
    bias_G = w["bias_ih_l0"] + w["bias_hh_l0"]
    inputs = at_autocast_precision(x_LBI, h_BD, c_BC, w["weight_ih_l0"], bias_G, *weights)
    with torch.autocast(x_LBI.device.type, enabled=False):
        return _Recurrence.apply(*inputs)


def at_autocast_precision(*tensors: Tensor | None) -> list[Tensor | None]:
    """Cast floating-point tensors as autocast does for a matrix product."""
    device = next(x.device.type for x in tensors if x is not None)
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [x.to(dtype) if x is not None and x.is_floating_point() else x for x in tensors]


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_LBI, h_BD, c_BC, w_input_GI, bias_G, w_recurrent_GD, w_project_DC):
        steps, batch, _ = x_LBI.shape
        gates_LBG = linear(x_LBI, w_input_GI, bias_G)
        h_LBD = x_LBI.new_empty(steps + 1, batch, h_BD.shape[1])
        c_LBC = x_LBI.new_empty(steps + 1, batch, c_BC.shape[1])
        tanh_LBC, out_LBC = torch.empty_like(c_LBC[1:]), torch.empty_like(c_LBC[1:])
        h_LBD[0], c_LBC[0] = h_BD, c_BC
        for t in range(steps):
            kernel.linear(h_LBD[t], w_recurrent_GD, gates_LBG[t], out=gates_LBG[t])
            step(gates_LBG[t], c_LBC[t], c_LBC[t + 1], tanh_LBC[t], out_LBC[t])
            kernel.linear(out_LBC[t], w_project_DC, out=h_LBD[t + 1])
        weights = (w_input_GI, w_recurrent_GD, w_project_DC)
        ctx.save_for_backward(x_LBI, gates_LBG, h_LBD, c_LBC, tanh_LBC, out_LBC, *weights)
        return h_LBD[1:].clone(), c_LBC[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_LBD, grad_c_BC):
        x_LBI, gates_LBG, h_LBD, c_LBC, tanh_LBC, out_LBC, *weights = ctx.saved_tensors
        w_input_GI, w_recurrent_GD, w_project_DC = weights
        # Each step adds to the gradient of the output before it.
        grad_h_LBD = torch.cat([torch.zeros_like(grad_LBD[:1]), grad_LBD])
        grad_c_BC, grad_gates_LBG = grad_c_BC.clone(), torch.empty_like(gates_LBG)
        for t in reversed(range(len(grad_LBD))):
            grad_out_BC = grad_h_LBD[t + 1] @ w_project_DC
            cell = (gates_LBG[t], c_LBC[t], tanh_LBC[t])
            step_backward(*cell, grad_out_BC, grad_c_BC, grad_gates_LBG[t])
            grad_h_LBD[t].addmm_(grad_gates_LBG[t], w_recurrent_GD)
        return (
            grad_gates_LBG @ w_input_GI,
            grad_h_LBD[0],
            grad_c_BC,
            of_weight(grad_gates_LBG, x_LBI),
            grad_gates_LBG.sum((0, 1)),
            of_weight(grad_gates_LBG, h_LBD[:-1]),
            of_weight(grad_h_LBD[1:], out_LBC),
        )


def of_weight(grad_LBO: Tensor, input_LBI: Tensor) -> Tensor:
    """The gradient ``[O, I]`` of a weight that is used in every step."""
    return grad_LBO.flatten(0, 1).t() @ input_LBI.flatten(0, 1)
