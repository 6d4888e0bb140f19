"""The recurrence of the decoder's layer with attention feedback, as one autograd function."""

import torch
from torch.autograd.function import once_differentiable

from nmt_moe.kernels.cpu import linear as kernel
from nmt_moe.models.attention import attention_weights, context
from nmt_moe.models.cell import step, step_backward
from nmt_moe.models.recurrence import of_weight


class AttentionRecurrence(torch.autograd.Function):
    """Computes step by step only what depends on the previous step; the gradient of each weight is
    one product over all steps.

    The inputs are the pre-activations of the gates without the recurrent part, ``inputs_LBG``; the
    ``keys_BSD``, ``source_BSD`` and ``pad_BS`` of the attention; the initial output and cells; the
    attention's ``w_query_DD`` and, if it is additive, ``v_D``, otherwise None; ``w_recurrent_GM``
    for context and output side by side (``M = 2*D``); ``w_project_DC`` or None. The function
    returns the outputs and contexts ``[L, B, D]``, the attention weights ``[B, L, S]`` and the last
    cells.
    """

    @staticmethod
    def forward(
        ctx,
        inputs_LBG,
        keys_BSD,
        source_BSD,
        pad_BS,
        h_BD,
        c_BC,
        w_query_DD,
        v_D,
        w_recurrent_GM,
        w_project_DC,
    ):
        steps, (batch, dim) = len(inputs_LBG), h_BD.shape
        # The context that a step finds and the output that it starts from.
        read_LBM = h_BD.new_empty(steps + 1, batch, 2 * dim)
        context_LBD, h_LBD = read_LBM.split(dim, dim=2)
        c_LBC = h_BD.new_empty(steps + 1, batch, c_BC.shape[1])
        tanh_LBC, out_LBC = torch.empty_like(c_LBC[1:]), torch.empty_like(c_LBC[1:])
        gates_LBG = torch.empty_like(inputs_LBG)
        query_LBD = h_BD.new_empty(steps, batch, dim)
        weights_BLS = h_BD.new_empty(batch, steps, pad_BS.shape[1])
        h_LBD[0], c_LBC[0] = h_BD, c_BC
        for t in range(steps):
            kernel.linear(h_LBD[t], w_query_DD, out=query_LBD[t])
            weights_BLS[:, t] = attention_weights(query_LBD[t], keys_BSD, pad_BS, v_D)
            context_LBD[t] = context(weights_BLS[:, t], source_BSD)
            kernel.linear(read_LBM[t], w_recurrent_GM, inputs_LBG[t], out=gates_LBG[t])
            step(gates_LBG[t], c_LBC[t], c_LBC[t + 1], tanh_LBC[t], out_LBC[t])
            if w_project_DC is None:
                h_LBD[t + 1] = out_LBC[t]
            else:
                kernel.linear(out_LBC[t], w_project_DC, out=h_LBD[t + 1])
        ctx.save_for_backward(
            keys_BSD,
            source_BSD,
            w_query_DD,
            v_D,
            w_recurrent_GM,
            w_project_DC,
            read_LBM,
            c_LBC,
            tanh_LBC,
            out_LBC,
            gates_LBG,
            query_LBD,
            weights_BLS,
        )
        ctx.set_materialize_grads(False)  # few use the attention's gradient
        return h_LBD[1:].clone(), context_LBD[:-1].clone(), weights_BLS.clone(), c_LBC[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_LBD, grad_context_LBD, grad_weights_BLS, grad_c_BC):
        keys_BSD, source_BSD, w_query_DD, v_D, w_recurrent_GM, w_project_DC, *saved = (
            ctx.saved_tensors
        )
        read_LBM, c_LBC, tanh_LBC, out_LBC, gates_LBG, query_LBD, weights_BLS = saved
        dim = w_query_DD.shape[0]
        # What each step read: the contexts' and outputs' gradients.
        grad_read_LBM = torch.zeros_like(read_LBM)
        if grad_LBD is not None:
            grad_read_LBM[1:, :, dim:] = grad_LBD
        if grad_context_LBD is not None:
            grad_read_LBM[:-1, :, :dim] = grad_context_LBD
        context_grad_LBD, grad_h_LBD = grad_read_LBM.split(dim, dim=2)
        grad_c_BC = torch.zeros_like(c_LBC[0]) if grad_c_BC is None else grad_c_BC.clone()
        grad_gates_LBG, grad_query_LBD = torch.empty_like(gates_LBG), torch.empty_like(query_LBD)
        grad_scores_BLS = torch.empty_like(weights_BLS)
        grad_keys_BSD = torch.zeros_like(keys_BSD)
        grad_v_D = None if v_D is None else torch.zeros_like(v_D)
        for t in reversed(range(len(gates_LBG))):
            grad_h_BD = grad_h_LBD[t + 1]
            grad_out_BC = grad_h_BD.clone() if w_project_DC is None else grad_h_BD @ w_project_DC
            cell = (gates_LBG[t], c_LBC[t], tanh_LBC[t])
            step_backward(*cell, grad_out_BC, grad_c_BC, grad_gates_LBG[t])
            grad_read_LBM[t].addmm_(grad_gates_LBG[t], w_recurrent_GM)
            grad_BS = source_BSD.bmm(context_grad_LBD[t].unsqueeze(2)).squeeze(2)
            if grad_weights_BLS is not None:
                grad_BS += grad_weights_BLS[:, t]
            weights_BS = weights_BLS[:, t]
            grad_BS = torch._softmax_backward_data(grad_BS, weights_BS, 1, weights_BS.dtype)
            grad_scores_BLS[:, t] = grad_BS
            if grad_v_D is not None:
                tanh_BSD = torch.tanh(keys_BSD + query_LBD[t].unsqueeze(1))
                grad_v_D += torch.mv(tanh_BSD.flatten(0, 1).t(), grad_BS.reshape(-1))
                grad_sum_BSD = torch.ops.aten.tanh_backward(grad_BS.unsqueeze(2) * v_D, tanh_BSD)
                grad_keys_BSD += grad_sum_BSD
                grad_query_LBD[t] = grad_sum_BSD.sum(1)
            else:
                grad_BD = grad_BS.unsqueeze(1).bmm(keys_BSD).squeeze(1)
                grad_query_LBD[t] = torch.ops.aten.tanh_backward(grad_BD, query_LBD[t].tanh())
            grad_h_LBD[t].addmm_(grad_query_LBD[t], w_query_DD)
        if grad_v_D is None:
            grad_keys_BSD = grad_scores_BLS.transpose(1, 2).bmm(query_LBD.tanh().transpose(0, 1))
        return (
            grad_gates_LBG,
            grad_keys_BSD,
            weights_BLS.transpose(1, 2).bmm(context_grad_LBD[:-1].transpose(0, 1)),
            None,
            grad_h_LBD[0],
            grad_c_BC,
            of_weight(grad_query_LBD, read_LBM[:-1, :, dim:]),
            grad_v_D,
            of_weight(grad_gates_LBG, read_LBM[:-1]),
            None if w_project_DC is None else of_weight(grad_h_LBD[1:], out_LBC),
        )
