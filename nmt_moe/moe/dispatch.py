"""Tokens to experts and back, through other processes where these hold the experts."""

import torch
from torch import Tensor

from nmt_moe.kernels import combine as kernel
from nmt_moe.kernels import gpu
from nmt_moe.kernels.cpu.product import precision
from nmt_moe.moe.experts import Experts
from nmt_moe.moe.mesh import Mesh, exchange
from nmt_moe.moe.routing import Routing


def mix(experts: Experts, x_TD: Tensor, routing: Routing) -> Tensor:
    """``y_TD``: each token's experts, weighed by their gates and summed."""
    # Products of our own round their factors themselves.
    dtype = _autocast_dtype(x_TD) if precision(x_TD) is None else x_TD.dtype
    if gpu.can_move(x_TD):
        from nmt_moe.kernels.gpu import tokens  # Triton is not everywhere

        assignments = tokens.Assignments(routing.token_A, len(x_TD), routing.by_token)
        x_AD = tokens.gather(x_TD.to(dtype), assignments)
        y_AD = _run(experts, x_AD, routing.counts_E)
        return tokens.combine(y_AD, routing.gate_A, assignments, x_TD.dtype)
    x_AD = x_TD.index_select(0, routing.token_A).to(dtype)
    return combine(_run(experts, x_AD, routing.counts_E), routing, x_TD.shape[0])


def _run(experts: Experts, x_AD: Tensor, counts_E: Tensor) -> Tensor:
    """Compute ``[A, D]`` rows sorted by expert, wherever the experts are."""
    if experts.mesh is None:
        return experts(x_AD, counts_E)
    return _run_elsewhere(experts, x_AD, counts_E, experts.mesh)


def combine(y_AD: Tensor, routing: Routing, num_tokens: int) -> Tensor:
    """Weigh each expert's output by its gate and add it to its token: ``[A, D]`` to ``[T, D]``.

    The result has the gates' precision.
    """
    return kernel.combine(y_AD, routing.gate_A, routing.token_A, num_tokens)


def _run_elsewhere(experts: Experts, x_AD: Tensor, counts_E: Tensor, mesh: Mesh) -> Tensor:
    """As many rows travel as there are, ``P`` processes each having its share of the experts."""
    counts_PE = counts_E.view(mesh.ep_size, -1)
    one_each = [1] * mesh.ep_size
    received_PE = exchange(counts_PE, one_each, one_each, mesh)
    # Read once: reading waits for the device.
    sent, received = torch.stack([counts_PE, received_PE]).tolist()
    sends, receives = [sum(row) for row in sent], [sum(row) for row in received]
    x_RD = exchange(x_AD, sends, receives, mesh)
    # They come sorted by process and then by expert.
    y_RD = experts(_transpose(x_RD, received_PE), received_PE.sum(0))
    return exchange(_transpose(y_RD, received_PE.t()), receives, sends, mesh)


def _transpose(x_RD: Tensor, counts_IJ: Tensor) -> Tensor:
    """Rows sorted by ``i`` and then ``j``, ``counts_IJ`` of each, by ``j`` and then ``i``."""
    if 1 in counts_IJ.shape:
        return x_RD
    rows, counts_JI = x_RD.shape[0], counts_IJ.t().reshape(-1)
    start_IJ = _starts(counts_IJ.reshape(-1)).view_as(counts_IJ)
    shift_JI = start_IJ.t().reshape(-1) - _starts(counts_JI)
    shift_R = shift_JI.repeat_interleave(counts_JI, output_size=rows)
    return x_RD.index_select(0, torch.arange(rows, device=x_RD.device) + shift_R)


def _starts(counts: Tensor) -> Tensor:
    return counts.cumsum(0) - counts


def _autocast_dtype(x: Tensor) -> torch.dtype | None:
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
