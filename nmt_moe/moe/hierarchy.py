"""The hierarchical gate: first groups, then experts inside them (appendix B)."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from nmt_moe.kernels import gpu
from nmt_moe.moe.gating import GATES, at_least_float32
from nmt_moe.moe.grouped import GroupedTokens
from nmt_moe.moe.mesh import Mesh, totals
from nmt_moe.moe.routing import Choice, Routing


class HierarchicalGate(nn.Module):
    """``G(x)_ij = G_primary(x)_i * G_i(x)_j``: expert ``j`` of group ``i`` is number ``i*b + j``.

    The primary gate sends a token to ``k`` of the ``a`` groups (to all, if there are fewer), and
    the secondary gate of each of these to ``k`` of its ``b`` experts. No other secondary gate is
    computed, so that memory grows with ``T * (a + k*b)``.

    Args:
        dim: width ``D`` of a token.
        num_experts: ``E = a*b``.
        k: choices at each level.
        groups: ``a``.
        gating: the kind of both levels, a name in ``GATES``.
        mesh: as in :class:`~nmt_moe.moe.gating.TopKGate`.
        dropout: as there, of the experts within a group: the same places of every group.
    """

    def __init__(
        self,
        dim: int,
        num_experts: int,
        k: int,
        groups: int,
        gating: str,
        mesh: Mesh | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.mesh = mesh
        self.num_experts, self.groups = num_experts, groups
        self.per_group = num_experts // groups
        self.primary = GATES[gating](dim, groups, min(k, groups), mesh=mesh)
        self.secondary = GATES[gating](dim, self.per_group, k, groups, mesh, dropout)

    @property
    def ops_per_token(self) -> int:
        """Multiply-adds of the primary gate and of the chosen groups' secondary gates."""
        return self.primary.ops_per_token + self.primary.k * self.secondary.ops_per_token

    def forward(self, x_TD: Tensor) -> Routing:
        """Route ``[T, D]`` tokens. Computed in float32 (float64 for float64 tokens)."""
        with torch.autocast(x_TD.device.type, enabled=False):
            return self._route(x_TD)

    def _route(self, x_TD: Tensor) -> Routing:
        mesh = self.mesh if self.training else None
        first = Routing.from_choice(self.primary.choose(x_TD), self.groups)
        sent = _sent(x_TD, first)
        reach = self.secondary.draw_reach(x_TD.device)
        second = self.secondary.choose(sent, reach).of_all(reach, self.per_group)
        group_A = first.expert_A.index_select(0, second.row_A)
        threshold_loss = second.threshold_loss
        if first.threshold_loss is not None and threshold_loss is not None:
            threshold_loss = first.threshold_loss + threshold_loss
        choice = Choice(
            row_A=first.token_A.index_select(0, second.row_A),
            expert_A=group_A * self.per_group + second.expert_A,
            gate_A=first.gate_A.index_select(0, second.row_A) * second.gate_A,
            threshold_loss=threshold_loss,
            by_row=False,
        )
        if reach is not None:
            first_G1 = torch.arange(self.groups, device=reach.device).unsqueeze(1) * self.per_group
            reach = (first_G1 + reach).flatten()
        routing = Routing.from_choice(choice, self.num_experts, reach)
        if second.load is None:
            return routing.of_all_processes(mesh)
        size_G = first.counts_E.to(second.load.dtype)
        sums = [routing.importance_E, first.load_E, second.load.reshape(-1), size_G]
        importance_E, *loads = totals(sums, mesh)
        return replace(routing, importance_E=importance_E, load_E=_load(*loads))


def _sent(x_TD: Tensor, first: Routing) -> GroupedTokens:
    """The tokens as the groups' gates see them: in float32, unless a kernel does that itself."""
    to_groups = (first.token_A, first.expert_A, first.counts_E)
    if not gpu.can_move(x_TD):
        return GroupedTokens(at_least_float32(x_TD), *to_groups)
    from nmt_moe.kernels.gpu.tokens import Assignments  # Triton is not everywhere

    return GroupedTokens(x_TD, *to_groups, Assignments(first.token_A, len(x_TD), first.by_token))


def _load(first_G: Tensor, second_E: Tensor, size_G: Tensor) -> Tensor:
    """``load_ij = load_primary(X)_i * load_i(X^(i))_j / |X^(i)|`` (equation 14).

    The product gives the primary gate a gradient. A group without tokens has no load.
    """
    share_G1 = (first_G / size_G.clamp_min(1)).unsqueeze(1)
    return (share_G1 * second_E.view(len(first_G), -1)).reshape(-1)
