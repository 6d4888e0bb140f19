"""The recurrence of an LSTM layer by torch, for what ``kernels.cpu.recurrence`` cannot compute.

Both have the same functions. Only what depends on the previous step is computed step by step: on a
GPU by one kernel for the cell and one for the attention, between torch's products.
"""

import torch
from torch import Tensor

from nmt_moe.kernels import gpu
from nmt_moe.kernels.cpu import linear as kernel
from nmt_moe.kernels.cpu.recurrence import Gradients, Source, Steps, Weights
from nmt_moe.models.attention import attention_weights, context
from nmt_moe.models.cell import is_lean, lean_step, lean_step_backward, step, step_backward


def forward(
    inputs_LBG: Tensor,
    h_BD: Tensor,
    c_BC: Tensor,
    weights: Weights,
    source: Source | None,
    mask_BM: Tensor | None = None,
) -> Steps:
    """Run over all steps; see :func:`nmt_moe.kernels.cpu.recurrence.forward`."""
    lean = is_lean(inputs_LBG)
    made = Steps.begun(inputs_LBG, h_BD, c_BC, weights, source, mask_BM, lean)
    h_LBD, c_LBC, out_LBC = made.h_LBD, made.c_LBC, made.out_LBC
    for t, gates_BG in enumerate(inputs_LBG):
        if source is not None:
            _attend(made, weights, source, t)
        if made.mask_BM is not None:
            torch.mul(made.read_LBM[t], made.mask_BM, out=made.of_gates_LBM[t])
        kernel.linear(made.of_gates_LBM[t], weights.recurrent_GM, gates_BG, out=gates_BG)
        if made.tanh_LBC is None:
            lean_step(gates_BG, c_LBC[t], c_LBC[t + 1], out_LBC[t])
        else:
            step(gates_BG, c_LBC[t], c_LBC[t + 1], made.tanh_LBC[t], out_LBC[t])
        if weights.project_DC is not None:
            kernel.linear(out_LBC[t], weights.project_DC, out=h_LBD[t + 1])
        elif not lean:
            h_LBD[t + 1] = out_LBC[t]
    return made


def _attend(made: Steps, weights: Weights, source: Source, t: int) -> None:
    query_BD, weights_BS = made.query_LBD[t], made.weights_BLS[:, t]
    kernel.linear(made.h_LBD[t], weights.query_DD, out=query_BD)
    dim = query_BD.shape[1]
    if gpu.can_attend(query_BD, source.keys_BSD, source.source_BSD):
        from nmt_moe.kernels.gpu.attention import attend  # Triton is not everywhere

        return attend(query_BD, source, weights_BS, made.read_LBM[t, :, :dim])
    read = (source.keys_BSD, source.pad_BS, source.v_D, source.bounded)
    weights_BS[:] = attention_weights(query_BD, *read)
    made.read_LBM[t, :, :dim] = context(weights_BS, source.source_BSD)


def backward(
    steps: Steps,
    gradients: Gradients,
    weights: Weights,
    source: Source | None,
    dweights_BLS: Tensor | None,
) -> None:
    """Fill the gradients; see :func:`nmt_moe.kernels.cpu.recurrence.backward`."""
    dh_LBD = gradients.read_LBM
    if source is not None:
        dh_LBD = dh_LBD.chunk(2, 2)[1]
    for t in reversed(range(len(steps.gates_LBG))):
        dh_BD = dh_LBD[t + 1]
        project_DC = weights.project_DC
        dout_BC = dh_BD if project_DC is None else dh_BD @ project_DC
        cell, found = (steps.gates_LBG[t], steps.c_LBC[t]), gradients.gates_LBG[t]
        if steps.tanh_LBC is None:
            lean_step_backward(*cell, dout_BC, gradients.c_BC, found)
        else:
            dout_BC = dout_BC.clone() if project_DC is None else dout_BC
            step_backward(*cell, steps.tanh_LBC[t], dout_BC, gradients.c_BC, found)
        if steps.mask_BM is None:
            gradients.read_LBM[t].addmm_(gradients.gates_LBG[t], weights.recurrent_GM)
        else:
            dmasked_BM = gradients.gates_LBG[t] @ weights.recurrent_GM
            gradients.read_LBM[t].addcmul_(dmasked_BM, steps.mask_BM)
        if source is not None:
            _attend_backward(steps, gradients, source, dweights_BLS, t)
            dh_LBD[t].addmm_(gradients.query_LBD[t], weights.query_DD)


def _attend_backward(
    steps: Steps, gradients: Gradients, source: Source, dweights_BLS: Tensor | None, t: int
) -> None:
    query_BD, weights_BS, keys_BSD = steps.query_LBD[t], steps.weights_BLS[:, t], source.keys_BSD
    dcontext_BD = gradients.read_LBM[t].chunk(2, 1)[0]
    dweights_BS = None if dweights_BLS is None else dweights_BLS[:, t]
    if gpu.can_attend(query_BD, source.keys_BSD, source.source_BSD):
        from nmt_moe.kernels.gpu.attention import attend_backward  # Triton is not everywhere

        found = (gradients.scores_BLS[:, t], gradients.query_LBD[t])
        added = (gradients.keys_BSD, gradients.v_BD)
        read = (query_BD, source, weights_BS)
        return attend_backward(*read, dcontext_BD, dweights_BS, *found, *added)
    d_BS = source.source_BSD.bmm(dcontext_BD.unsqueeze(2)).squeeze(2)
    if dweights_BS is not None:
        d_BS += dweights_BS
    d_BS = torch._softmax_backward_data(d_BS, weights_BS, 1, weights_BS.dtype)
    gradients.scores_BLS[:, t] = d_BS
    if source.v_D is None:
        d_BD = d_BS.unsqueeze(1).bmm(keys_BSD).squeeze(1)
        if source.bounded:
            d_BD = torch.ops.aten.tanh_backward(d_BD, query_BD.tanh())
        gradients.query_LBD[t] = d_BD
        return
    tanh_BSD = torch.tanh(keys_BSD + query_BD.unsqueeze(1))
    gradients.v_BD += torch.bmm(d_BS.unsqueeze(1), tanh_BSD).squeeze(1)
    dsum_BSD = torch.ops.aten.tanh_backward(d_BS.unsqueeze(2) * source.v_D, tanh_BSD)
    gradients.keys_BSD += dsum_BSD
    gradients.query_LBD[t] = dsum_BSD.sum(1)
