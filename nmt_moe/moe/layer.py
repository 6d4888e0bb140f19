"""The layer: gate -> dispatch -> experts -> combine (section 2)."""

from torch import Tensor, nn

from nmt_moe.errors import UserError
from nmt_moe.moe.dispatch import combine, dispatch
from nmt_moe.moe.experts import Experts
from nmt_moe.moe.gating import GATES
from nmt_moe.moe.routing import Routing


class MixtureOfExperts(nn.Module):
    """``y = sum_i G(x)_i * E_i(x)``, where only the ``k`` chosen experts are evaluated.

    Args:
        dim: width ``D`` of input and output.
        hidden_dim: hidden width ``H`` of each expert.
        num_experts: ``E``.
        k: experts per token, 1 to ``E``.
        gating: ``noisy_top_k`` (the paper's) or ``top_k`` (no noise, no smooth load).

    Raises:
        UserError: a size below 1, ``k`` above ``num_experts``, or an unknown gating.
    """

    def __init__(
        self, dim: int, hidden_dim: int, num_experts: int, k: int, gating: str = "noisy_top_k"
    ) -> None:
        super().__init__()
        sizes = {"dim": dim, "hidden_dim": hidden_dim, "num_experts": num_experts, "k": k}
        for name, value in sizes.items():
            if value < 1:
                raise UserError(f"a mixture of experts needs {name} of at least 1, not {value}")
        if k > num_experts:
            raise UserError(
                f"k = {k} experts per token is more than the {num_experts} experts there are: "
                f"choose k from 1 to {num_experts}"
            )
        if gating not in GATES:
            raise UserError(f"unknown gating {gating!r}: choose one of {', '.join(GATES)}")
        self.gate = GATES[gating](dim, num_experts, k)
        self.experts = Experts(num_experts, dim, hidden_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """Apply the layer to every token of ``[..., D]``.

        Every row is a token: remove padding before the call.

        Returns:
            The output, of the shape and type of ``x``, and the :class:`Routing` behind it,
            whose ``token_A`` counts the rows of ``x`` flattened to ``[T, D]``.
        """
        x_TD = x.reshape(-1, x.shape[-1])
        routing = self.gate(x_TD)
        y_AD = self.experts(dispatch(x_TD, routing), routing.counts_E)
        y_TD = combine(y_AD, routing, x_TD.shape[0])
        return y_TD.to(x.dtype).view(x.shape), routing
