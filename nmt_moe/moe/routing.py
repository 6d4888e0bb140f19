"""What a gate decided about a batch of tokens."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nmt_moe.kernels import gpu
from nmt_moe.moe.mesh import Mesh, totals


@dataclass(frozen=True)
class Choice:
    """What one gate, or a bank of gates, chose for its rows."""

    row_A: Tensor
    """int64: the row that a choice is about."""
    expert_A: Tensor
    """int64: what was chosen for it."""
    gate_A: Tensor
    """The weight of the choice; differentiable."""
    load: Tensor | None = None
    """Smooth estimate of the rows per expert, of those of this process, where there is one:
    ``[E]``, or ``[G, E]`` of a bank."""
    threshold_loss: Tensor | None = None
    """0-d: see :class:`Routing`."""
    by_row: bool = True
    """Whether ``row_A`` ascends."""

    def of_all(self, reach: Tensor | None, experts: int) -> "Choice":
        """The same choice, made among the experts in reach, by the numbers of all."""
        if reach is None:
            return self
        load = self.load
        if load is not None:
            load = load.new_zeros(*load.shape[:-1], experts).index_copy(-1, reach, load)
        return replace(self, expert_A=reach.index_select(0, self.expert_A), load=load)


@dataclass(frozen=True)
class Routing:
    """Which token goes to which expert, and what that did to the experts.

    ``A`` is the number of assignments, ``E`` the number of experts. The three assignment
    vectors are sorted by expert, and by token within an expert. Real-valued members have
    the gate's precision: float32, or float64 for a float64 model.

    Where processes share the experts, assignments and counts are those of this process, and
    importance and load in training those of the tokens of all.
    """

    token_A: Tensor
    """int64: the row of the token."""
    expert_A: Tensor
    """int64: the expert it is sent to, ascending."""
    gate_A: Tensor
    """The weight of this expert for this token; differentiable."""
    importance_E: Tensor
    """Sum of the gates per expert (section 4); differentiable."""
    load_E: Tensor
    """Smooth estimate of the tokens per expert (appendix A), differentiable, where the gate
    is noisy and training; otherwise ``counts_E`` as real numbers."""
    counts_E: Tensor
    """int64: assignments really made."""
    threshold_loss: Tensor | None = None
    """0-d, summed over tokens and experts: what teaches the thresholds of strictly balanced
    gating in training (appendix F); None otherwise."""
    reach: Tensor | None = None
    """int64: the experts that this batch could reach, where some are dropped in training."""
    by_token: Tensor | None = None
    """int64: the assignments sorted by token, where a GPU needs them and no sort is needed."""

    def within_reach(self, v_E: Tensor) -> Tensor:
        """The entries of the experts in reach, which alone a loss may be about."""
        return v_E if self.reach is None else v_E.index_select(0, self.reach)

    def of_all_processes(self, mesh: Mesh | None) -> "Routing":
        """With importance and load of the tokens of all processes."""
        importance_E, load_E = totals([self.importance_E, self.load_E], mesh)
        return replace(self, importance_E=importance_E, load_E=load_E)

    @classmethod
    def from_choice(
        cls,
        choice: Choice,
        num_experts: int,
        reach: Tensor | None = None,
    ) -> "Routing":
        """Sort what was chosen for tokens by expert.

        Within an expert the tokens keep the order that they have in ``choice``. Without a
        smooth load, the load is the number of assignments made. ``reach`` is kept as it is.
        """
        on_gpu = gpu.can_move(choice.gate_A)
        # A stable sort: results do not depend on the device.
        key_A = choice.expert_A.to(gpu.key_type(num_experts)) if on_gpu else choice.expert_A
        key_A, order_A = key_A.sort(stable=True)
        expert_A = key_A.long()
        gate_A = choice.gate_A.index_select(0, order_A)
        # Not bincount, which waits for a GPU and whose size torch.compile does not know.
        number_E = torch.arange(num_experts, device=key_A.device, dtype=key_A.dtype)
        ends_E = torch.searchsorted(key_A, number_E, right=True)
        counts_E = ends_E.diff(prepend=ends_E.new_zeros(1))
        if on_gpu:
            from nmt_moe.kernels.gpu.groups import group_sums  # Triton is not everywhere

            importance_E = group_sums(gate_A, expert_A, ends_E)
        else:
            importance_E = gate_A.new_zeros(num_experts).index_add(0, expert_A, gate_A)
        by_token = None
        if on_gpu and choice.by_row:
            place_A = torch.arange(len(order_A), device=order_A.device)
            by_token = torch.empty_like(order_A).scatter_(0, order_A, place_A)
        load_E = choice.load
        if load_E is None:
            load_E = counts_E.to(gate_A.dtype)
        return cls(
            token_A=choice.row_A.index_select(0, order_A),
            expert_A=expert_A,
            gate_A=gate_A,
            importance_E=importance_E,
            load_E=load_E,
            counts_E=counts_E,
            threshold_loss=choice.threshold_loss,
            reach=reach,
            by_token=by_token,
        )


# So that an exported program can return it.
torch.export.register_dataclass(Routing, serialized_type_name="nmt_moe.Routing")
