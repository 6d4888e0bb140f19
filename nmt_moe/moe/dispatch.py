"""Tokens to experts and back, through other processes where these hold the experts."""

import torch
from torch import Tensor

from nmt_moe.moe.experts import Experts
from nmt_moe.moe.mesh import Mesh, exchange
from nmt_moe.moe.routing import Routing


def run_experts(experts: Experts, x_TD: Tensor, routing: Routing) -> Tensor:
    """Lay ``[T, D]`` tokens out by expert and compute them: ``[A, D]``, in the routing's order."""
    x_AD = x_TD.index_select(0, routing.token_A).to(_autocast_dtype(x_TD))
    if experts.mesh is None:
        return experts(x_AD, routing.counts_E.tolist())
    return _run_elsewhere(experts, x_AD, routing.counts_E, experts.mesh)


def combine(y_AD: Tensor, routing: Routing, num_tokens: int) -> Tensor:
    """Weigh each expert's output by its gate and add it to its token: ``[A, D]`` to ``[T, D]``.

    The result has the gates' precision.
    """
    weighted_AD = routing.gate_A.unsqueeze(1) * y_AD
    y_TD = weighted_AD.new_zeros(num_tokens, y_AD.shape[1])
    return y_TD.index_add(0, routing.token_A, weighted_AD)


def _run_elsewhere(experts: Experts, x_AD: Tensor, counts_E: Tensor, mesh: Mesh) -> Tensor:
    """As many rows travel as there are, ``P`` processes each having its share of the experts."""
    counts_PE = counts_E.view(mesh.size, -1)
    one_each = [1] * mesh.size
    received_PE = exchange(counts_PE, one_each, one_each, mesh)
    sends, receives = counts_PE.sum(1).tolist(), received_PE.sum(1).tolist()
    x_RD = exchange(x_AD, sends, receives, mesh)
    # They come sorted by process and then by expert.
    expert_PE = torch.arange(received_PE.shape[1], device=x_AD.device).expand_as(received_PE)
    expert_R = expert_PE.reshape(-1).repeat_interleave(received_PE.reshape(-1))
    order_R = expert_R.argsort(stable=True)
    y_RD = experts(x_RD.index_select(0, order_R), received_PE.sum(0).tolist())
    return exchange(y_RD.index_select(0, order_R.argsort()), receives, sends, mesh)


def _autocast_dtype(x: Tensor) -> torch.dtype | None:
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
