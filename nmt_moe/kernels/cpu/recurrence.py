"""An LSTM's recurrence over all steps, with attention feedback or without: ``recurrence.c``."""

import ctypes
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from nmt_moe.kernels.cpu.buffers import empty_activations
from nmt_moe.kernels.cpu.extension import library
from nmt_moe.kernels.cpu.product import Operand, Precision, operand

_SMALL = 2**22  # multiply-adds of a step; more than one thread would wait longer than they help


class _Task(ctypes.Structure):
    """As in ``recurrence.c``."""

    _fields_ = [
        *((n, ctypes.c_long) for n in ("steps", "batch", "dim", "cells")),
        *((n, ctypes.c_long) for n in ("positions", "sentences", "threads")),
        *((n, ctypes.c_int) for n in ("precision", "attends", "bounded")),
        *((n, Operand) for n in ("w_recurrent", "w_project", "w_query")),
        *((n, ctypes.c_void_p) for n in ("keys", "source", "v", "padding", "inputs")),
        *((n, ctypes.c_void_p) for n in ("gates", "read", "c", "tanh", "out", "query", "weights")),
        *((n, ctypes.c_void_p) for n in ("mask", "masked")),
        *((n, ctypes.c_void_p) for n in ("dread", "dc", "dgates", "dquery")),
        *((n, ctypes.c_void_p) for n in ("dweights", "dscores", "dkeys", "dv")),
    ]


@dataclass
class Weights:
    """The matrices that a recurrence reads step by step, float32 or bfloat16, by rows."""

    recurrent_GM: Tensor
    """``G = 4*C``; ``M`` is ``D``, or ``2*D`` for context and output side by side."""
    project_DC: Tensor | None
    """None: no projection."""
    query_DD: Tensor = None  # type: ignore[assignment]


@dataclass
class Source:
    """What the attention reads, float32 and by rows.

    Equally many rows of a recurrence, side by side, may read one sentence; without a gradient.
    """

    keys_BSD: Tensor
    source_BSD: Tensor
    pad_BS: Tensor
    v_D: Tensor | None
    """``V`` of additive attention; None: a product of queries and keys."""
    bounded: bool = True
    """Whether a hyperbolic tangent bounds the queries of a product."""


@dataclass
class Steps:
    """What the steps compute, in float32; the backward pass needs it all.

    In :mod:`nmt_moe.models.loops` it is of the inputs' type, but for the cells, which are never
    bfloat16 or float16: what they sum up over many steps would be lost.

    Attributes:
        read_LBM: what each step finds, ``[L + 1, B, M]``: context, if any, and output before it.
        c_LBC: cells, ``[L + 1, B, C]``.
        gates_LBG: the gates; or their pre-activations, where the backward pass computes them anew.
        tanh_LBC: the cells' hyperbolic tangent; None: likewise.
        out_LBC: the outputs before the projection.
        query_LBD: the attention's query, or None.
        weights_BLS: the attention's weights, or None.
        mask_BM: the factors of what the gates read, in every step; or None: 1.
        masked_LBM: what the gates read, with these factors; or None: as it is.
    """

    read_LBM: Tensor
    c_LBC: Tensor
    gates_LBG: Tensor
    tanh_LBC: Tensor | None = None
    out_LBC: Tensor = None  # type: ignore[assignment]
    query_LBD: Tensor = None  # type: ignore[assignment]
    weights_BLS: Tensor = None  # type: ignore[assignment]
    mask_BM: Tensor | None = None
    masked_LBM: Tensor | None = None

    @classmethod
    def begun(
        cls,
        inputs_LBG: Tensor,
        h_BD: Tensor,
        c_BC: Tensor,
        weights: "Weights",
        source: "Source | None",
        mask_BM: Tensor | None,
        lean: bool = False,
    ) -> "Steps":
        """Memory for all of them, with the initial output and cells.

        Args:
            inputs_LBG: this and the others as of :func:`forward`.
            lean: the backward pass computes the gates anew.
        """
        steps, batch, _ = inputs_LBG.shape
        wide = inputs_LBG.new_empty(0, dtype=torch.promote_types(inputs_LBG.dtype, torch.float32))
        read_LBM = empty_activations(inputs_LBG, steps + 1, batch, weights.recurrent_GM.shape[1])
        c_LBC = empty_activations(wide, steps + 1, *c_BC.shape)
        made = cls(read_LBM, c_LBC, inputs_LBG, mask_BM=mask_BM)
        if mask_BM is not None:
            made.masked_LBM = empty_activations(inputs_LBG, *read_LBM.shape)
        if source is not None:
            made.query_LBD = inputs_LBG.new_empty(steps, *h_BD.shape)
            made.weights_BLS = inputs_LBG.new_empty(batch, steps, source.pad_BS.shape[1])
        if not lean:
            made.tanh_LBC = empty_activations(inputs_LBG, steps, *c_BC.shape)
        if lean and weights.project_DC is None:
            made.out_LBC = made.h_LBD[1:]
        else:
            made.out_LBC = empty_activations(inputs_LBG, steps, *c_BC.shape)
        made.h_LBD[0], made.c_LBC[0] = h_BD, c_BC
        return made

    def tensors(self) -> list[Tensor | None]:
        """All, in the order of the constructor's arguments."""
        return [getattr(self, field.name) for field in fields(self)]

    @property
    def of_gates_LBM(self) -> Tensor:
        """What the gates read of the steps before."""
        return self.read_LBM if self.masked_LBM is None else self.masked_LBM

    @property
    def h_LBD(self) -> Tensor:
        """The outputs, ``[L + 1, B, D]``: the initial one first."""
        return self.read_LBM if self.query_LBD is None else self.read_LBM.chunk(2, 2)[1]


@dataclass
class Gradients:
    """What the backward pass fills.

    Attributes:
        read_LBM: goes in with the gradients of outputs and contexts from above, and comes out with
            the complete ones.
        c_BC: the gradient of the last cells goes in, of the first comes out.
        gates_LBG: of the gates' pre-activations.
        query_LBD: of the queries, or None.
        scores_BLS: of the attention's scores, or None.
        keys_BSD: of additive attention, or None.
        v_BD: likewise, for each sentence.
    """

    read_LBM: Tensor
    c_BC: Tensor
    gates_LBG: Tensor
    query_LBD: Tensor = None  # type: ignore[assignment]
    scores_BLS: Tensor = None  # type: ignore[assignment]
    keys_BSD: Tensor = None  # type: ignore[assignment]
    v_BD: Tensor = None  # type: ignore[assignment]


def forward(
    inputs_LBG: Tensor,
    h_BD: Tensor,
    c_BC: Tensor,
    weights: Weights,
    source: Source | None,
    how: Precision,
    mask_BM: Tensor | None = None,
) -> Steps:
    """Run over all steps.

    Args:
        inputs_LBG: the inputs' share of the gates' pre-activations, by rows; overwritten with the
            gates.
        h_BD: the initial output.
        c_BC: the initial cells.
        weights: of the recurrence.
        source: None: no attention.
        how: from :func:`nmt_moe.kernels.cpu.product.precision`.
        mask_BM: factors of what the gates read of the step before, context and output; the query
            reads the output as it is. None: 1.
    """
    made = Steps.begun(inputs_LBG, h_BD, c_BC, weights, source, mask_BM)
    _run("recurrence_forward", made, weights, source, how, inputs=inputs_LBG)
    return made


def backward(
    steps: Steps,
    gradients: Gradients,
    weights: Weights,
    source: Source | None,
    dweights_BLS: Tensor | None,
    how: Precision,
) -> None:
    """Fill the gradients.

    Args:
        steps: from :func:`forward`.
        gradients: those that go in, and memory for the others; keys' and ``v``'s are zeros.
        weights: as in :func:`forward`.
        source: likewise.
        dweights_BLS: the gradient of the attention's weights; None: zeros.
        how: likewise.
    """
    more = {
        "dread": gradients.read_LBM,
        "dc": gradients.c_BC,
        "dgates": gradients.gates_LBG,
        "dquery": gradients.query_LBD,
        "dscores": gradients.scores_BLS,
        "dkeys": gradients.keys_BSD,
        "dv": gradients.v_BD,
        "dweights": dweights_BLS,
    }
    _run("recurrence_backward", steps, weights, source, how, **more)


def _run(
    name: str,
    steps: Steps,
    weights: Weights,
    source: Source | None,
    how: Precision,
    **more: Tensor | None,
) -> None:
    length, batch, cells = steps.out_LBC.shape
    task = _Task(length, batch, steps.h_LBD.shape[2], cells, precision=how)
    task.attends = source is not None
    each = batch * cells * (4 * steps.read_LBM.shape[2] + task.dim)
    task.threads = torch.get_num_threads() if each >= _SMALL else 1
    task.w_recurrent = operand(weights.recurrent_GM)
    if weights.project_DC is not None:
        task.w_project = operand(weights.project_DC)
    tensors: dict[str, Tensor | None] = {
        "gates": steps.gates_LBG,
        "read": steps.read_LBM,
        "c": steps.c_LBC,
        "tanh": steps.tanh_LBC,
        "out": steps.out_LBC,
        "mask": steps.mask_BM,
        "masked": steps.masked_LBM,
    }
    if source is not None and weights.query_DD is not None:
        task.sentences, task.positions = source.pad_BS.shape
        task.w_query, task.bounded = operand(weights.query_DD), source.bounded
        tensors |= {"keys": source.keys_BSD, "source": source.source_BSD, "padding": source.pad_BS}
        tensors |= {"v": source.v_D, "query": steps.query_LBD, "weights": steps.weights_BLS}
    for key, tensor in (tensors | more).items():
        setattr(task, key, None if tensor is None else tensor.data_ptr())
    if getattr(library, name)(ctypes.byref(task)):
        raise MemoryError("no memory for a recurrence")
