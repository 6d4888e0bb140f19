"""Gates: from a token to the experts that see it (section 2.1, appendix F).

Each class here is one gate over ``E`` experts, or a *bank* of ``G`` such gates, one for each
group of a hierarchy (``hierarchy.py``), with parameters that have ``G`` in front.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nmt_moe.common.errors import UserError
from nmt_moe.kernels import gpu, linear
from nmt_moe.kernels.gpu.logits import logits
from nmt_moe.kernels.operators import operator
from nmt_moe.moe.balance import load_probability
from nmt_moe.moe.grouped import GroupedTokens
from nmt_moe.moe.mesh import Mesh, collect, total
from nmt_moe.moe.reach import columns, draw
from nmt_moe.moe.routing import Choice, Routing

_NOTHING = -1.0  # below every softmax
Rows = Tensor | GroupedTokens
"""What a gate chooses for: ``[T, D]`` tokens, or the rows of a bank."""


class TopKGate(nn.Module):
    """Softmax over the ``k`` largest logits; all other gates are exactly zero.

    Without noise, and so without a smooth load: a baseline to compare the paper's gate with.

    Args:
        dim: width ``D`` of a token.
        num_experts: ``E``.
        k: experts per token, 1 to ``E``.
        groups: how many gates this is; None: one, whose parameters have no ``G``.
        mesh: the processes whose tokens make one batch in training; None: this one's.
        dropout: the probability of an expert to be out of reach of a batch in training; at least
            ``k`` stay, and those of a bank's gates are the same. The softmax is over these.
    """

    def __init__(
        self,
        dim: int,
        num_experts: int,
        k: int,
        groups: int | None = None,
        mesh: Mesh | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dim, self.num_experts, self.k, self.mesh = dim, num_experts, k, mesh
        self.dropout = dropout
        self.bank = () if groups is None else (groups,)
        self.w_gate = nn.Parameter(torch.empty(*self.bank, dim, num_experts))
        self.reset_parameters()

    @property
    def ops_per_token(self) -> int:
        """Multiply-adds of a token that sees this gate, or one of this bank."""
        return self.dim * self.num_experts

    def reset_parameters(self) -> None:
        # All logits equal would send every token to the same k experts for good. With a hundredth
        # of the mean square of x they differ, and the softmax is near uniform at any width.
        nn.init.normal_(self.w_gate, std=0.1 * self.dim**-0.5)

    def forward(self, x_TD: Tensor) -> Routing:
        """Route ``[T, D]`` tokens. Computed in float32 (float64 for float64 tokens)."""
        with torch.autocast(x_TD.device.type, enabled=False):
            mesh, reach = self.mesh if self.training else None, self.draw_reach(x_TD.device)
            choice = self.choose(x_TD, reach).of_all(reach, self.num_experts)
            return Routing.from_choice(choice, self.num_experts, reach).of_all_processes(mesh)

    def draw_reach(self, device: torch.device) -> Tensor | None:
        """The experts that a batch can reach; None: all."""
        share = self.dropout if self.training else 0.0
        return draw(self.num_experts, self.k, share, device, self.mesh)

    def choose(self, rows: Rows, reach: Tensor | None = None) -> Choice:
        """Choose among the experts in reach, by their numbers there; rows as in ``Rows``."""
        return self._choose(*_product(rows, columns(self.w_gate, reach)).topk(self.k, dim=1))

    def _choose(self, logits_RK: Tensor, expert_RK: Tensor, load: Tensor | None = None) -> Choice:
        row_A = torch.arange(logits_RK.shape[0], device=logits_RK.device).repeat_interleave(self.k)
        return Choice(row_A, expert_RK.reshape(-1), logits_RK.softmax(1).reshape(-1), load)


class NoisyTopKGate(TopKGate):
    """The paper's gate: ``H = x W_gate + normal() * softplus(x W_noise)``, then top k.

    Both matrices start at zero, so that every expert expects the same load from the first
    step. The noise is drawn in training only. Where it is annealed, its standard deviation is
    multiplied by a share that falls linearly from 1 to ``noise_end`` over the first
    ``noise_updates`` updates.
    """

    noise_end, noise_updates = 1.0, 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.w_noise = nn.Parameter(torch.zeros_like(self.w_gate))
        self.noise_share: Tensor
        # A tensor, as a number would be compiled anew for each of its values.
        self.register_buffer("noise_share", torch.ones(()), persistent=False)

    def anneal(self, end: float, updates: int) -> None:
        """Let the share of the noise fall to ``end`` over the first updates of a training."""
        self.noise_end, self.noise_updates = end, updates

    def set_num_updates(self, updates: int) -> None:
        """What fairseq calls before each update, with the number of those that were made."""
        if self.noise_updates:
            done = min(1.0, updates / self.noise_updates)
            self.noise_share.fill_(1 - done * (1 - self.noise_end))

    @property
    def ops_per_token(self) -> int:
        return 2 * super().ops_per_token

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.w_gate)

    def choose(self, rows: Rows, reach: Tensor | None = None) -> Choice:
        if not self.training:
            return super().choose(rows, reach)
        w_gate, w_noise = columns(self.w_gate, reach), columns(self.w_noise, reach)
        experts = w_gate.shape[-1]
        annealed = self.noise_updates > 0
        if isinstance(rows, Tensor) and not annealed and gpu.can_choose(rows, experts, self.k):
            return self._choose_on_gpu(rows, w_gate, w_noise)
        clean_RE = _product(rows, w_gate)
        stddev_RE = F.softplus(_product(rows, w_noise))
        if annealed:
            stddev_RE = stddev_RE * self.noise_share
        noisy_RE = clean_RE + torch.randn_like(clean_RE) * stddev_RE
        load_RE = load_probability(clean_RE, noisy_RE, stddev_RE, self.k)
        if isinstance(rows, Tensor):
            load = load_RE.sum(0)
        else:
            load = load_RE.new_zeros(*self.bank, experts)
            load = load.index_add(0, rows.group_R, load_RE)
        return self._choose(*noisy_RE.topk(self.k, dim=1), load)

    def _choose_on_gpu(self, x_TD: Tensor, w_gate: Tensor, w_noise: Tensor) -> Choice:
        from nmt_moe.kernels.gpu.noisy import choose  # Triton is not everywhere

        both_TF = _product(x_TD, torch.cat([w_gate, w_noise], dim=1))
        noise_TE = torch.randn_like(both_TF[:, : w_gate.shape[1]])
        logits_TK, expert_TK, load_E = choose(both_TF, noise_TE, self.k)
        return self._choose(logits_TK, expert_TK, load_E)


class StrictlyBalancedGate(TopKGate):
    """Appendix F: in training each expert chooses its ``m`` best tokens of the batch.

    With ``g = softmax(x W_gate)``, expert ``i`` takes the ``m`` tokens with the largest ``g_i``,
    and a token weighs the experts that took it by their ``g``, scaled to sum to 1. ``m`` is
    ``k*T/E`` to the nearest whole number, at least 1 (a batch of fewer than ``E/k`` tokens keeps
    all experts at work) and at most ``T``. Among tokens with equal ``g_i`` the first are taken.
    A token that no expert took gets an output of zero.

    In evaluation an expert takes every token with ``g_i`` above its learned threshold, which
    depends on no other token. The thresholds learn in training, from the routing's
    ``threshold_loss``, to make the same choice as the batch. They start a little above the gates
    of a new model: before they have learnt, evaluation uses few experts rather than half of all.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        start = min(1.5 / self.num_experts, 0.75)
        self.threshold = nn.Parameter(torch.full((*self.bank, self.num_experts), start))

    def choose(self, rows: Rows, reach: Tensor | None = None) -> Choice:
        logits_RE = _product(rows, columns(self.w_gate, reach))
        gate_RE = logits_RE.softmax(1)
        threshold = columns(self.threshold, reach).to(gate_RE.dtype)
        if not isinstance(rows, Tensor):
            threshold = threshold.index_select(0, rows.group_R)
        above_RE = gate_RE > threshold
        if not self.training:
            return _choice(logits_RE, above_RE)
        groups = 1 if isinstance(rows, Tensor) else len(rows.counts_G)
        size = None
        with torch.no_grad():
            if self.mesh is None:
                taken_RE = _mask(gate_RE, groups, self.k)
                each = batch_of_expert(len(gate_RE) // groups, self.k, gate_RE.shape[1])
                size = groups * gate_RE.shape[1] * each
            else:
                taken_RE = _mask_of_all(gate_RE, rows, self.k, self.mesh)
        differ_RE = above_RE.to(gate_RE.dtype) - taken_RE.to(gate_RE.dtype)
        return _choice(logits_RE, taken_RE, size, (differ_RE * (gate_RE - threshold)).sum())

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        if prefix + "w_gate" in state_dict and prefix + "threshold" not in state_dict:
            raise UserError(
                f"the checkpoint has no {prefix}threshold, which strictly balanced gating needs: "
                "it was trained with another gating; use that one, or train anew"
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def batch_of_expert(tokens: int, k: int, num_experts: int) -> int:
    """``m``: how many of the tokens each expert takes, see :class:`StrictlyBalancedGate`."""
    return min(tokens, max(1, (2 * k * tokens + num_experts) // (2 * num_experts)))


def batchwise_mask(
    gate_GNE: Tensor, k: int, tokens: int | None = None, mesh: Mesh | None = None
) -> Tensor:
    """Which of its group's ``N`` tokens each expert takes: a bool mask of the same shape.

    Each takes the same number, see :class:`StrictlyBalancedGate`, of the ``tokens`` of all
    processes, which are ``N`` where there is one. All groups have equally many there; a process may
    have fewer of some, and fills up with ``_NOTHING``. A gate that is not a number is above all.
    """
    _, here, num_experts = gate_GNE.shape
    m = batch_of_expert(here if tokens is None else tokens, k, num_experts)
    if not m:
        return torch.zeros_like(gate_GNE, dtype=torch.bool)
    gate_GNE = gate_GNE.nan_to_num(2.0)
    best_GME = gate_GNE.topk(min(m, here), dim=1).values
    if mesh is not None:
        best_GME = F.pad(best_GME, (0, 0, 0, m - best_GME.shape[1]), value=_NOTHING)
        best_GME = torch.cat(list(collect(best_GME, mesh)), dim=1).topk(m, dim=1).values
    bar_G1E = best_GME[:, -1:]
    better_GNE, equal_GNE = gate_GNE > bar_G1E, gate_GNE == bar_G1E
    counts_2G1E = torch.stack([mask.sum(1, keepdim=True) for mask in (better_GNE, equal_GNE)])
    better_PG1E, equal_PG1E = collect(counts_2G1E, mesh).unbind(1)
    before = 0 if mesh is None else mesh.rank
    left_G1E = m - better_PG1E.sum(0) - equal_PG1E[:before].sum(0)
    return better_GNE | (equal_GNE & (equal_GNE.cumsum(1) <= left_G1E))


def strictly_balanced_mask(gate_RE: Tensor, groups: int, k: int) -> Tensor:
    """:func:`batchwise_mask` of rows sorted by group, of each of which there are equally many."""
    gate_GNE = gate_RE.view(groups, len(gate_RE) // groups, gate_RE.shape[1])
    return batchwise_mask(gate_GNE, k).view_as(gate_RE)


# An operator: where torch.compile does not see how many rows there are.
_mask = operator(
    strictly_balanced_mask, lambda gate, *_: gate.new_empty(gate.shape, dtype=torch.bool)
)


def _mask_of_all(gate_RE: Tensor, rows: Rows, k: int, mesh: Mesh) -> Tensor:
    """:func:`batchwise_mask` in the batch of all processes. The host waits for its size."""
    if isinstance(rows, Tensor):
        tokens = total(torch.full((), len(rows), device=rows.device), mesh)
        return batchwise_mask(gate_RE[None], k, int(tokens), mesh)[0]
    counts_G = rows.counts_G
    tokens, most = torch.stack([total(counts_G, mesh)[0], counts_G.max()]).tolist()
    gate_GNE = gate_RE.new_full((len(counts_G), most, gate_RE.shape[1]), _NOTHING)
    where = (rows.group_R, rows.place_in_group())
    gate_GNE[where] = gate_RE
    return batchwise_mask(gate_GNE, k, tokens, mesh)[where]


def _choice(
    logits_RE: Tensor,
    mask_RE: Tensor,
    size: int | None = None,
    threshold_loss: Tensor | None = None,
) -> Choice:
    """The softmax over what the mask leaves of each row: ``g_i M_i / sum_j g_j M_j``.

    ``size``: how many entries the mask has; None: nobody knows, and the host waits for a GPU.
    """
    out_RE = mask_RE.logical_not() & mask_RE.any(1, keepdim=True)  # an empty row would be 0/0
    gate_RE = logits_RE.masked_fill(out_RE, float("-inf")).softmax(1)
    if size is not None and gpu.can_move(logits_RE):
        row_A, expert_A = mask_RE.nonzero_static(size=size).unbind(1)
    else:
        row_A, expert_A = mask_RE.nonzero(as_tuple=True)  # faster on a CPU
    place_A = row_A * mask_RE.shape[1] + expert_A
    gate_A = gate_RE.reshape(-1).index_select(0, place_A)
    return Choice(row_A, expert_A, gate_A, threshold_loss=threshold_loss)


def _product(rows: Rows, weight: Tensor) -> Tensor:
    """The logits ``[R, E]`` in float32, or float64 of float64 rows."""
    if not isinstance(rows, Tensor):
        return rows.product(weight)
    if rows.is_cuda and rows.dtype == weight.dtype == torch.bfloat16:
        return logits(rows, weight)
    rows = at_least_float32(rows)
    w_ED = weight.to(rows.dtype).t()
    how = linear.precision_for(rows, w_ED)
    if how is None:
        return rows @ w_ED.t()
    return linear.linear(rows, w_ED, None, how)


def at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


GATES: dict[str, type[TopKGate]] = {
    "noisy_top_k": NoisyTopKGate,
    "strictly_balanced": StrictlyBalancedGate,
    "top_k": TopKGate,
}
"""Gates by the name that users give."""
