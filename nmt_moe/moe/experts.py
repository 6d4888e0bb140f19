"""The experts: many small feed-forward networks, each run once on its group of tokens."""

import weakref
from typing import Any

import torch
from torch import Tensor, nn

from nmt_moe.kernels import grouped
from nmt_moe.kernels.cpu.product import precision
from nmt_moe.kernels.gpu import choices
from nmt_moe.moe.mesh import Mesh, expert_weight, gather_experts

_NOISE = 0.01  # of experts that start equal, beside the weights
_drawn: dict[str, Any] = {}


def draw_experts(device: str | None = None, dtype: torch.dtype | None = None) -> None:
    """Say where the weights of experts that are made from now on are drawn, and in which type.

    Billions of them take a processor a minute, and 4 bytes each of its memory, before a training
    moves them to its GPU. None: as torch's own tensors.
    """
    _drawn.update(device=device, dtype=dtype)


class Experts(nn.Module):
    """``E`` networks ``Linear(D, H) -> ReLU -> Linear(H, D)`` without biases.

    Weights are stacked: ``w_in`` is ``[E, D, H]``, ``w_out`` is ``[E, H, D]``. Their attribute
    ``param_group``, which fairseq copies along with a parameter, tells an optimizer what they are.

    Args:
        num_experts: ``E``.
        dim: ``D``.
        hidden_dim: ``H``.
        recompute: compute the hidden activations again in the backward pass instead of keeping
            them (appendix D): ``A*H`` numbers less, one product more, the same gradients.
        mesh: the processes that share the experts, of which this one holds its own only.
        dropout: the share of the hidden activations that is dropped in training.
        equal: let all start with the same weights, but for noise of a hundredth of their size.
    """

    def __init__(
        self,
        num_experts: int,
        dim: int,
        hidden_dim: int,
        recompute: bool = False,
        mesh: Mesh | None = None,
        dropout: float = 0.0,
        equal: bool = False,
    ) -> None:
        super().__init__()
        self.num_experts, self.recompute, self.mesh = num_experts, recompute, mesh
        self.dropout, self.equal = dropout, equal
        here = num_experts if mesh is None else num_experts // mesh.ep_size
        self.w_in = nn.Parameter(torch.empty(here, dim, hidden_dim, **_drawn))
        self.w_out = nn.Parameter(torch.empty(here, hidden_dim, dim, **_drawn))
        for weight in (self.w_in, self.w_out):
            weight.param_group = "experts"  # type: ignore[attr-defined]
            if mesh is not None:
                weight.expert = True  # type: ignore[attr-defined]  # fairseq: no copies elsewhere
        if mesh is not None:
            mesh.modules.append(weakref.ref(self))
        self._complete: dict[str, Tensor | None] = {}
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights; each expert gets the same whatever the number of processes.

        An output has half of the mean square of the input: sums have all of it, of which the ReLU
        keeps half.
        """
        for weight in (self.w_in, self.w_out):
            bound = (3 / weight.shape[1]) ** 0.5  # variance 1 / fan-in
            if not self.equal:
                self._draw(weight, bound)
                continue
            common = nn.init.uniform_(torch.empty_like(weight[0]), -bound, bound)
            self._draw(weight, _NOISE * bound)
            with torch.no_grad():
                weight.add_(common)

    def _draw(self, weight: Tensor, bound: float) -> None:
        if self.mesh is None:
            nn.init.uniform_(weight, -bound, bound)
            return
        own = self.mesh.own(self.num_experts)
        elsewhere = torch.empty_like(weight[0])
        for e in range(self.num_experts):
            here = own.start <= e < own.stop
            nn.init.uniform_(weight[e - own.start] if here else elsewhere, -bound, bound)

    def forward(self, x_AD: Tensor, counts_E: Tensor) -> Tensor:
        """Run each expert of this process on its rows.

        Args:
            x_AD: rows sorted by expert.
            counts_E: int64: how many rows each expert has; sums to ``A``. Zeros are fine.

        Returns:
            ``[A, D]``, in the same order and the precision of ``x_AD``.
        """
        w_in, w_out = (expert_weight(w, self.mesh).to(x_AD.dtype) for w in (self.w_in, self.w_out))
        stays_AH, scale = None, 1.0
        if self.training and self.dropout:
            numbers_AH = torch.rand(len(x_AD), w_in.shape[2], device=x_AD.device)
            stays_AH, scale = numbers_AH >= self.dropout, 1 / (1 - self.dropout)
        if choices.can_multiply(x_AD, w_in, w_out):
            from nmt_moe.kernels.gpu.feed_forward import feed_forward  # Triton is not everywhere

            ends_E = counts_E.cumsum(0, dtype=torch.int32)
            return feed_forward(x_AD, w_in, w_out, ends_E, not self.recompute, stays_AH, scale)
        keep_hidden = torch.is_grad_enabled() and not self.recompute
        how = precision(x_AD, w_in, w_out)
        x = x_AD if how is None else x_AD.float()
        y_AD = grouped.feed_forward(x, w_in, w_out, counts_E, keep_hidden, how, stays_AH, scale)
        return y_AD.to(x_AD.dtype)

    def gather(self) -> None:
        """Bring all experts to the first process, for the next ``state_dict`` there.

        All processes have to call it, except where each saves its own part.
        """
        for name, weight in self.named_parameters():
            if self.mesh is not None:
                self._complete[name] = gather_experts(weight.detach(), self.mesh)

    def release(self) -> None:
        """Forget what was gathered."""
        self._complete.clear()

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.mesh is None or self.mesh.parts:
            return
        for name in ("w_in", "w_out"):
            complete = self._complete.get(name)
            if complete is None:
                raise RuntimeError("experts of several processes have not been gathered here")
            destination[prefix + name] = complete

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("w_in", "w_out"):
            weight = state_dict.get(prefix + name)
            if self.mesh is not None and weight is not None and len(weight) == self.num_experts:
                state_dict[prefix + name] = weight[self.mesh.own(self.num_experts)]
        super()._load_from_state_dict(state_dict, prefix, *args)
