"""The recurrence of an LSTM layer, with attention feedback or without, as one autograd function.

The inputs' share of the gates is one product over all steps before it, and the gradient of each
weight is one product over all steps after it.
"""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt_moe.kernels.cpu import recurrence as kernel
from nmt_moe.kernels.cpu.buffers import empty_activations
from nmt_moe.kernels.cpu.product import BFLOAT16, FLOAT32, Precision, precision
from nmt_moe.kernels.cpu.recurrence import Gradients, Source, Steps, Weights
from nmt_moe.kernels.linear import of_weight
from nmt_moe.models import loops

_FEW = 4  # steps, as of a search, for which the weights are not worth packing
State = tuple[Tensor, Tensor]
"""Output ``[B, D]`` and cells ``[B, C]`` of an LSTM after its last step."""


def run(
    inputs_LBG: Tensor,
    state: State,
    weights: Weights,
    source: Source | None = None,
    mask_BM: Tensor | None = None,
) -> tuple[Any, ...]:
    """Run over all steps.

    Args:
        inputs_LBG: the inputs' share of the gates' pre-activations; not to be used again.
        state: the initial state.
        weights: of the recurrence.
        source: what the attention reads; None: no attention.
        mask_BM: factors, without a gradient, of what the gates read in every step: of the context,
            if any, and of the output before it. The query reads that as it is. None: 1.

    Returns:
        The outputs ``[L, B, D]``, the last cells ``[B, C]``, and with attention the contexts
        ``[L, B, D]`` and the attention's weights ``[B, L, S]``.
    """
    read: tuple[Tensor | None, ...] = (None,) * 4
    bounded = source is None or source.bounded
    if source is not None:
        read = (source.keys_BSD, source.source_BSD, source.pad_BS, source.v_D)
    matrices = (weights.recurrent_GM, weights.project_DC, weights.query_DD)
    how = precision(*(x for x in (inputs_LBG, *state, *matrices, *read) if _real(x)))
    if how == FLOAT32 and len(inputs_LBG) < _FEW and not torch.is_grad_enabled():
        how = None
    tensors: list[Tensor | None] = [inputs_LBG, *state, *matrices, *read]
    if how is None:
        tensors = _at_autocast_precision(tensors)
        tensors[2] = state[1]  # the cells stay as wide as they are
    with torch.autocast(inputs_LBG.device.type, enabled=False):
        found = _Recurrence.apply(how, bounded, mask_BM, *tensors)
    dtype = torch.bfloat16 if how == BFLOAT16 else None
    return tuple(x if x is None or dtype is None else x.to(dtype) for x in found)


def _real(x: Tensor | None) -> bool:
    return x is not None and x.is_floating_point()


def _at_autocast_precision(tensors: list[Tensor | None]) -> list[Tensor | None]:
    """Cast floating-point tensors as autocast does for a matrix product."""
    device = next(x.device.type for x in tensors if x is not None)
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return [x.to(dtype) if x is not None and _real(x) else x for x in tensors]


def _parts(
    bounded: bool, recurrent_GM: Tensor, project_DC: Tensor | None, query_DD: Any, *read: Any
) -> tuple[Weights, Source | None]:
    weights = Weights(recurrent_GM, project_DC, query_DD)
    return weights, None if read[0] is None else replace(Source(*read), bounded=bounded)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, how, bounded, mask_BM, inputs_LBG, h_BD, c_BC, *tensors):
        inputs = (inputs_LBG, h_BD, c_BC, *tensors)
        ctx.dtypes = [None if x is None else x.dtype for x in inputs]
        if how is None:
            mask_BM = None if mask_BM is None else mask_BM.to(inputs_LBG.dtype)
            parts = _parts(bounded, *tensors)
            steps = loops.forward(inputs_LBG, h_BD, c_BC, *parts, mask_BM)
        else:
            weights = (None if x is None else x.contiguous() for x in tensors[:3])
            read = (x.float().contiguous() if _real(x) else x for x in tensors[3:])
            tensors = (*weights, *read)
            inputs_LBG, h_BD, c_BC = (x.float().contiguous() for x in inputs[:3])
            mask_BM = None if mask_BM is None else mask_BM.float().contiguous()
            parts = _parts(bounded, *tensors)
            steps = kernel.forward(inputs_LBG, h_BD, c_BC, *parts, how, mask_BM)
        ctx.how, ctx.bounded = how, bounded
        ctx.save_for_backward(*tensors, *steps.tensors())
        ctx.set_materialize_grads(False)  # few use the attention's gradient
        context_LBD = weights_BLS = None
        if steps.query_LBD is not None:
            context_LBD = steps.read_LBM[:-1].chunk(2, 2)[0].clone()
            weights_BLS = steps.weights_BLS.clone()
        last_BC = steps.c_LBC[-1].to(c_BC.dtype, copy=True)
        return steps.h_LBD[1:].clone(), last_BC, context_LBD, weights_BLS

    @staticmethod
    @once_differentiable
    def backward(ctx, dh_LBD, dc_BC, dcontext_LBD, dweights_BLS):
        tensors, steps = ctx.saved_tensors[:7], Steps(*ctx.saved_tensors[7:])
        weights, source = _parts(ctx.bounded, *tensors)
        gradients = _before(steps, source, dh_LBD, dc_BC, dcontext_LBD)
        if ctx.how is None:
            loops.backward(steps, gradients, weights, source, dweights_BLS)
        else:
            if dweights_BLS is not None:
                dweights_BLS = dweights_BLS.contiguous()
            kernel.backward(steps, gradients, weights, source, dweights_BLS, ctx.how)
        kinds = zip(_complete(ctx.how, steps, gradients, weights, source), ctx.dtypes, strict=True)
        return None, None, None, *(x if x is None else x.to(dtype) for x, dtype in kinds)


def _before(
    steps: Steps,
    source: Source | None,
    dh_LBD: Tensor | None,
    dc_BC: Tensor | None,
    dcontext_LBD: Tensor | None,
) -> Gradients:
    """The gradients that come from above, and memory for the others."""
    read_LBM = torch.zeros_like(steps.read_LBM)
    dim = steps.h_LBD.shape[2]
    if dh_LBD is not None:
        read_LBM[1:, :, -dim:] = dh_LBD
    if dcontext_LBD is not None:
        read_LBM[:-1, :, :dim] = dcontext_LBD
    c_BC = torch.zeros_like(steps.c_LBC[0])
    if dc_BC is not None:
        c_BC += dc_BC
    gates_LBG = empty_activations(steps.gates_LBG, *steps.gates_LBG.shape)
    made = Gradients(read_LBM, c_BC, gates_LBG)
    if source is not None:
        made.query_LBD = torch.empty_like(steps.query_LBD)
        made.scores_BLS = torch.empty_like(steps.weights_BLS)
        if source.v_D is not None:
            # They sum up all steps, so they are as wide as the cells.
            made.keys_BSD = c_BC.new_zeros(source.keys_BSD.shape)
            made.v_BD = torch.zeros_like(made.keys_BSD[:, 0])
    return made


def _complete(
    how: Precision, steps: Steps, gradients: Gradients, weights: Weights, source: Source | None
) -> list[Tensor | None]:
    """The gradients of all inputs, in the order of ``_Recurrence.forward``."""
    dh_LBD = gradients.read_LBM[:, :, -steps.h_LBD.shape[2] :]
    project, attention = None, cast(list[Tensor | None], [None] * 5)
    if weights.project_DC is not None:
        project = _of_weight(dh_LBD[1:], steps.out_LBC, weights.project_DC, how)
    if source is not None and steps.query_LBD is not None:
        dcontext_LBD = gradients.read_LBM[:-1].chunk(2, 2)[0]
        query = _of_weight(gradients.query_LBD, steps.h_LBD[:-1], weights.query_DD, how)
        keys, v = gradients.keys_BSD, None
        if gradients.v_BD is not None:
            v = gradients.v_BD.sum(0)
        else:
            queries_LBD = steps.query_LBD.tanh() if source.bounded else steps.query_LBD
            queries_BLD = queries_LBD.transpose(0, 1)
            keys = gradients.scores_BLS.transpose(1, 2).bmm(queries_BLD)
        contexts_BLD = dcontext_LBD.transpose(0, 1)
        attention = [query, keys, steps.weights_BLS.transpose(1, 2).bmm(contexts_BLD), None, v]
    recurrent = _of_weight(gradients.gates_LBG, steps.of_gates_LBM[:-1], weights.recurrent_GM, how)
    first = [gradients.gates_LBG, dh_LBD[0], gradients.c_BC]
    return [*first, recurrent, project, *attention]


def _of_weight(d_LBO: Tensor, input_LBI: Tensor, weight: Tensor, how: Precision) -> Tensor:
    """The gradient of a weight that is used in every step."""
    return of_weight(d_LBO.flatten(0, 1), input_LBI.flatten(0, 1), weight, how)
