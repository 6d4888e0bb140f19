"""What a gate decided about a batch of tokens."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Routing:
    """Which token goes to which expert, and what that did to the experts.

    ``A`` is the number of assignments, ``E`` the number of experts. The three assignment
    vectors are sorted by expert, and by token within an expert. Real-valued members have
    the gate's precision: float32, or float64 for a float64 model.
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

    @classmethod
    def from_choices(
        cls, expert_TK: Tensor, gate_TK: Tensor, num_experts: int, load_E: Tensor | None = None
    ) -> "Routing":
        """Sort the choices of ``[T, K]`` experts and their gates by expert.

        Without ``load_E`` the load is the number of assignments made.
        """
        top_k = expert_TK.shape[1]
        expert_A = expert_TK.reshape(-1)
        # A stable sort keeps an expert's tokens in order: results do not depend on the device.
        expert_A, order_A = expert_A.sort(stable=True)
        gate_A = gate_TK.reshape(-1).index_select(0, order_A)
        counts_E = torch.bincount(expert_A, minlength=num_experts)
        importance_E = gate_A.new_zeros(num_experts).index_add(0, expert_A, gate_A)
        return cls(
            token_A=order_A.div(top_k, rounding_mode="floor"),
            expert_A=expert_A,
            gate_A=gate_A,
            importance_E=importance_E,
            load_E=counts_E.to(gate_A.dtype) if load_E is None else load_E,
            counts_E=counts_E,
        )
