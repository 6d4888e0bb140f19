"""What stands between two LSTM layers: a mixture of experts, or its dense twin."""

import torch
from torch import Tensor, nn

from nmt_moe.models.config import LSTMMoEConfig
from nmt_moe.moe import MixtureOfExperts, Routing


class FeedForward(nn.Module):
    """``x + dropout(sigmoid(f(x)))`` on every real token; padding passes unchanged.

    ``f`` is a mixture of experts or, with ``--feed-forward dense``, one feed-forward network
    of the size that is active for a token.
    """

    def __init__(self, cfg: LSTMMoEConfig) -> None:
        super().__init__()
        self.sigmoid = not cfg.no_moe_sigmoid
        self.dropout = nn.Dropout(cfg.dropout)
        self.moe: MixtureOfExperts | None = None
        if cfg.feed_forward == "moe":
            self.moe = MixtureOfExperts(
                cfg.dim, cfg.moe_hidden_dim, cfg.moe_experts, cfg.moe_k, cfg.moe_gating
            )
        else:
            hidden_dim = cfg.moe_k * cfg.moe_hidden_dim
            self.dense = nn.Sequential(
                nn.Linear(cfg.dim, hidden_dim, bias=False),
                nn.ReLU(),
                nn.Linear(hidden_dim, cfg.dim, bias=False),
            )

    def forward(self, x_LBD: Tensor, pad_BL: Tensor) -> tuple[Tensor, Routing | None]:
        """All time steps at once.

        Args:
            x_LBD: the output of the layer below.
            pad_BL: true where there is no token.

        Returns:
            The new ``x_LBD``, and the routing of the mixture (None for the dense twin). The
            routing counts only real tokens, in the order of ``x_LBD``.
        """
        flat_ND = x_LBD.reshape(-1, x_LBD.shape[-1])
        real_T = pad_BL.t().logical_not().reshape(-1).nonzero().squeeze(1)
        x_TD = flat_ND.index_select(0, real_T)
        routing = None
        if self.moe is None:
            y_TD = self.dense(x_TD)
        else:
            y_TD, routing = self.moe(x_TD)
        y_TD = self.dropout(torch.sigmoid(y_TD) if self.sigmoid else y_TD)
        return flat_ND.index_add(0, real_T, y_TD.type_as(flat_ND)).view_as(x_LBD), routing


def feed_forwards(cfg: LSTMMoEConfig, positions: list[int]) -> nn.ModuleDict:
    """The feed-forward after each of the given layers, by the layer's number as text."""
    if cfg.feed_forward == "none":
        return nn.ModuleDict()
    return nn.ModuleDict({str(position): FeedForward(cfg) for position in positions})
