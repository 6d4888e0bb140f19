"""The layer between two LSTM layers: a mixture of experts, or a dense network of equal size."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nmt_moe.kernels import gpu
from nmt_moe.models import initial
from nmt_moe.models.config import StackConfig
from nmt_moe.models.dropout import dropout
from nmt_moe.models.linear import apply
from nmt_moe.models.padding import real_rows
from nmt_moe.moe import MixtureOfExperts, Routing
from nmt_moe.moe.layer import experts_per_token
from nmt_moe.moe.mesh import mesh_for


class FeedForward(nn.Module):
    """``x + dropout(sigmoid(f(x)))`` on every real token; padding passes unchanged.

    ``f`` is a mixture of experts, or one network with as many active parameters per token: with
    ``--feed-forward dense`` its hidden layer is as wide as those of all active experts together;
    with ``deep`` it has one hidden layer for each of them. For an ``x`` of mean square 1 the output
    of ``f`` starts with a variance of ``0.5 * sum_i G(x)_i**2`` (0.5 over the experts per token
    where gates are equal), or 1/18 without experts. A sigmoid leaves a sixteenth of this variance,
    around 0.5.

    With ``--moe-shared-expert`` a network of the size of an expert adds its output to that of the
    mixture, and another 0.5 to the variance; a dense network is as much wider or deeper.

    Args:
        cfg: the model's options.
        stack: ``encoder`` or ``decoder``.
    """

    def __init__(self, cfg: StackConfig, stack: str = "decoder") -> None:
        super().__init__()
        self.sigmoid = not cfg.no_moe_sigmoid
        self.dropout = dropout(cfg, stack, "out", self)
        self.hidden_dropout = cfg.moe_hidden_dropout
        self.moe: MixtureOfExperts | None = None
        if cfg.feed_forward == "moe":
            self.moe = MixtureOfExperts(
                cfg.dim,
                cfg.moe_hidden_dim,
                cfg.moe_experts,
                cfg.moe_k,
                str(cfg.moe_gating),
                groups=cfg.moe_groups,
                recompute=cfg.moe_recompute,
                mesh=mesh_for(
                    cfg.moe_experts,
                    cfg.moe_expert_parallel_size,
                    cfg.moe_sharded_checkpoint,
                    cfg.moe_hidden_dim,
                    experts_per_token(cfg.moe_k, cfg.moe_groups),
                ),
                hidden_dropout=cfg.moe_hidden_dropout,
                expert_dropout=cfg.moe_expert_dropout,
                equal=cfg.moe_init_equal,
                noise_end=cfg.moe_noise_end,
                noise_updates=cfg.moe_noise_updates,
            )
            self.shared = self._shared(cfg) if cfg.moe_shared_expert else None
        else:
            active = experts_per_token(cfg.moe_k, cfg.moe_groups) + cfg.moe_shared_expert
            hidden_dim = cfg.moe_hidden_dim
            deep = cfg.feed_forward == "deep"
            hidden_dims = [hidden_dim] * active if deep else [hidden_dim * active]
            layers: list[nn.Module] = []
            for width, next_width in pairwise([cfg.dim, *hidden_dims, cfg.dim]):
                layers += [nn.Linear(width, next_width, bias=False), nn.ReLU()]
            self.dense = nn.Sequential(*layers[:-1])
            for matrix in list(self.dense.parameters())[1:-1]:  # between hidden layers
                initial.twos(matrix)

    def forward(self, x_LBD: Tensor, real_T: Tensor) -> tuple[Tensor, Routing | None]:
        """All time steps at once.

        Args:
            x_LBD: the output of the layer below.
            real_T: the rows of ``[L * B, D]`` that are tokens, see
                :func:`~nmt_moe.models.padding.real_rows`.

        Returns:
            The new ``x_LBD``, and the routing of the mixture, None for a dense network. The routing
            counts only real tokens, in the order of ``x_LBD``.
        """
        flat_ND = x_LBD.reshape(-1, x_LBD.shape[-1])
        x_TD = flat_ND.index_select(0, real_T)
        routing = None
        if self.moe is None:
            y_TD = self._run(self.dense, x_TD)
        else:
            y_TD, routing = self.moe(x_TD)
            if self.shared is not None:
                y_TD = y_TD + self._run(self.shared, x_TD).type_as(y_TD)
        y_TD = self.dropout(torch.sigmoid(y_TD) if self.sigmoid else y_TD)
        return flat_ND.index_add(0, real_T, y_TD.type_as(flat_ND)).view_as(x_LBD), routing

    @staticmethod
    def _shared(cfg: StackConfig) -> nn.Sequential:
        """An expert that sees every token, which starts as the others."""
        layers = [nn.Linear(cfg.dim, cfg.moe_hidden_dim, bias=False), nn.ReLU()]
        layers += [nn.Linear(cfg.moe_hidden_dim, cfg.dim, bias=False)]
        made = nn.Sequential(*layers)
        for matrix in made.parameters():
            initial.ones(matrix)
        return made

    def _run(self, layers: nn.Sequential, x_TD: Tensor) -> Tensor:
        for layer in layers:
            x_TD = apply(layer, x_TD)
            if self.hidden_dropout and isinstance(layer, nn.ReLU):
                x_TD = F.dropout(x_TD, self.hidden_dropout, self.training)
        return x_TD


class FeedForwards(nn.ModuleDict):
    """The feed-forward layers of a stack.

    Args:
        cfg: the model's options.
        positions: the 1-based numbers of the LSTM layers that a feed-forward layer follows.
        stack: the name of the stack in the names of the routings, ``<stack>.<layer>``.
    """

    def __init__(self, cfg: StackConfig, positions: list[int], stack: str) -> None:
        if cfg.feed_forward == "none":
            positions = []
        super().__init__({str(position): FeedForward(cfg, stack) for position in positions})
        self.stack = stack

    def rows(self, pad_BL: Tensor, of_search: bool = False) -> Tensor:
        """The real tokens of a batch, once for all layers; none if there is no layer.

        In a step of a search all are, and the host need not wait for a GPU to know.
        """
        if not len(self):
            return pad_BL.new_empty(0, dtype=torch.int64)
        if of_search and gpu.can_move(pad_BL):
            return torch.arange(pad_BL.numel(), device=pad_BL.device)
        return real_rows(pad_BL)

    def after(
        self, layer: int, x_LBD: Tensor, real_T: Tensor, routing: dict[str, Routing]
    ) -> Tensor:
        """The input of the next layer; adds to ``routing`` if a mixture follows this layer."""
        if str(layer) not in self:
            return x_LBD
        x_LBD, routed = self[str(layer)](x_LBD, real_T)
        if routed is not None:
            routing[f"{self.stack}.{layer}"] = routed
        return x_LBD
