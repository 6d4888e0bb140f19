"""The layer: gate -> dispatch -> experts -> combine (section 2)."""

from numbers import Integral

from torch import Tensor, nn

from nmt_moe.common.errors import UserError
from nmt_moe.moe.dispatch import mix
from nmt_moe.moe.experts import Experts
from nmt_moe.moe.gating import GATES, NoisyTopKGate, TopKGate
from nmt_moe.moe.hierarchy import HierarchicalGate
from nmt_moe.moe.mesh import Mesh
from nmt_moe.moe.routing import Routing


class MixtureOfExperts(nn.Module):
    """``y = sum_i G(x)_i * E_i(x)``, where only the chosen experts are evaluated.

    Args:
        dim: width ``D`` of input and output.
        hidden_dim: hidden width ``H`` of each expert.
        num_experts: ``E``.
        k: experts per token, 1 to ``E``. With groups, choices at each level: ``k`` groups and
            ``k`` experts in each, ``k*k`` per token.
        gating: ``noisy_top_k`` (section 2.1), ``strictly_balanced`` (appendix F), or ``top_k``
            (no noise, no smooth load).
        groups: groups of ``E / groups`` experts under a primary gate (appendix B); 1: none.
        recompute: trade time for memory, see :class:`Experts`.
        mesh: the processes that share the experts; None: this one has them all.
        hidden_dropout: the share of each expert's hidden activations that is dropped in training.
        expert_dropout: the probability of an expert to be out of reach of a batch in training; at
            least ``k`` stay.
        equal: let all experts start with the same weights, but for a little noise.
        noise_end: the share of the gates' noise that is left after ``noise_updates`` updates.
        noise_updates: 0: it is not annealed.

    Raises:
        UserError: a size is no whole number, is below 1 or does not fit the others; or the gating
            is unknown.
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        num_experts: int,
        k: int,
        gating: str = "noisy_top_k",
        groups: int = 1,
        recompute: bool = False,
        mesh: Mesh | None = None,
        hidden_dropout: float = 0.0,
        expert_dropout: float = 0.0,
        equal: bool = False,
        noise_end: float = 1.0,
        noise_updates: int = 0,
    ) -> None:
        super().__init__()
        sizes = {"dim": dim, "hidden_dim": hidden_dim, "num_experts": num_experts, "k": k}
        for name, value in {**sizes, "groups": groups}.items():
            if not isinstance(value, Integral) or value < 1:
                raise UserError(
                    f"a mixture of experts needs a whole number {name} of at least 1, not {value!r}"
                )
        if gating not in [*GATES]:
            raise UserError(f"unknown gating {gating!r}: choose one of {', '.join(GATES)}")
        check_sizes(num_experts, k, groups)
        self.dim, self.num_experts, self.groups = dim, num_experts, groups
        self.experts_per_token = experts_per_token(k, groups)
        self.gate: TopKGate | HierarchicalGate
        if groups == 1:
            self.gate = GATES[gating](dim, num_experts, k, mesh=mesh, dropout=expert_dropout)
        else:
            levels = (dim, num_experts, k, groups, gating)
            self.gate = HierarchicalGate(*levels, mesh, expert_dropout)
        for gate in self.gate.modules():
            if isinstance(gate, NoisyTopKGate):
                gate.anneal(noise_end, noise_updates)
        self.experts = Experts(num_experts, dim, hidden_dim, recompute, mesh, hidden_dropout, equal)

    @property
    def ops_per_token(self) -> int:
        """Multiply-adds of a token: the gates that see it, and its experts."""
        expert = self.experts.w_in[0].numel() + self.experts.w_out[0].numel()
        return self.gate.ops_per_token + self.experts_per_token * expert

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """Apply the layer to every token of ``[..., D]``.

        Every row is a token: remove padding before the call.

        Returns:
            The output, of the shape and type of ``x``, and the :class:`Routing` behind it,
            whose ``token_A`` counts the rows of ``x`` flattened to ``[T, D]``.

        Raises:
            UserError: ``x`` is no tensor of floating-point numbers, or has another width.
        """
        if not isinstance(x, Tensor) or x.shape[-1:] != (self.dim,) or not x.is_floating_point():
            raise UserError(_wrong_input(x, self.dim))
        x_TD = x.reshape(-1, x.shape[-1])
        routing = self.gate(x_TD)
        y_TD = mix(self.experts, x_TD, routing)
        return y_TD.to(x.dtype).view(x.shape), routing


def _wrong_input(x: object, dim: int) -> str:
    """What is wrong with an input of the layer."""
    needed = f"a mixture of experts of width {dim} needs a floating-point tensor [..., {dim}]"
    if not isinstance(x, Tensor):
        return f"{needed}, not a {type(x).__name__}"
    return f"{needed}, not {str(x.dtype).removeprefix('torch.')} {[*x.shape]}"


def experts_per_token(k: int, groups: int) -> int:
    """How many experts see a token: ``k``, or ``k`` in each of ``k`` groups."""
    return k if groups == 1 else k * k


def check_sizes(num_experts: int, k: int, groups: int) -> None:
    """Raise a :class:`UserError` for experts, choices and groups that do not fit together."""
    if num_experts % groups:
        raise UserError(
            f"{num_experts} experts cannot be divided into {groups} groups: "
            "choose a number of groups that divides the number of experts"
        )
    per_group = num_experts // groups
    if groups == 1 and k > num_experts:
        raise UserError(
            f"k = {k} experts per token is more than the {num_experts} experts there are: "
            f"choose k from 1 to {num_experts}"
        )
    if groups > 1 and k > min(groups, per_group):
        raise UserError(
            f"k = {k} counts at both levels, {groups} groups of {per_group} experts: "
            f"choose k from 1 to {min(groups, per_group)}"
        )
