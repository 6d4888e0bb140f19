"""Gates: from a token to the experts that see it (section 2.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nmt_moe.moe.balance import load_probability
from nmt_moe.moe.routing import Routing


class TopKGate(nn.Module):
    """Softmax over the ``k`` largest logits; all other gates are exactly zero.

    Without noise, and so without a smooth load: a baseline to compare the paper's gate with.

    Args:
        dim: width ``D`` of a token.
        num_experts: ``E``.
        k: experts per token, 1 to ``E``.
    """

    def __init__(self, dim: int, num_experts: int, k: int) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.k = k
        self.w_gate = nn.Parameter(torch.empty(dim, num_experts))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        # All logits equal would send every token to the same k experts for good.
        nn.init.normal_(self.w_gate, std=self.w_gate.shape[0] ** -0.5)

    def forward(self, x_TD: Tensor) -> Routing:
        """Route ``[T, D]`` tokens. Computed in float32 (float64 for float64 tokens)."""
        with torch.autocast(x_TD.device.type, enabled=False):
            return self._route(_at_least_float32(x_TD))

    def _route(self, x_TD: Tensor) -> Routing:
        return self._choose(x_TD @ self.w_gate.to(x_TD.dtype))

    def _choose(self, logits_TE: Tensor, load_E: Tensor | None = None) -> Routing:
        logits_TK, expert_TK = logits_TE.topk(self.k, dim=1)
        return Routing.from_choices(expert_TK, logits_TK.softmax(1), self.num_experts, load_E)


class NoisyTopKGate(TopKGate):
    """The paper's gate: ``H = x W_gate + normal() * softplus(x W_noise)``, then top k.

    Both matrices start at zero, so that every expert expects the same load from the first
    step. The noise is drawn in training only.
    """

    def __init__(self, dim: int, num_experts: int, k: int) -> None:
        super().__init__(dim, num_experts, k)
        self.w_noise = nn.Parameter(torch.zeros(dim, num_experts))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.w_gate)

    def _route(self, x_TD: Tensor) -> Routing:
        clean_TE = x_TD @ self.w_gate.to(x_TD.dtype)
        if not self.training:
            return self._choose(clean_TE)
        stddev_TE = F.softplus(x_TD @ self.w_noise.to(x_TD.dtype))
        noisy_TE = clean_TE + torch.randn_like(clean_TE) * stddev_TE
        load_TE = load_probability(clean_TE, noisy_TE, stddev_TE, self.k)
        return self._choose(noisy_TE, load_E=load_TE.sum(0))


GATES: dict[str, type[TopKGate]] = {"noisy_top_k": NoisyTopKGate, "top_k": TopKGate}
"""Gates by the name that users give."""


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
