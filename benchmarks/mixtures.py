"""Mixtures of experts of the same weights, computed in several ways, and checks of them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nmt_moe.kernels.gpu.grouped_mm import runs_on
from nmt_moe.moe import MixtureOfExperts, Routing

TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.03}
grouped_mm = getattr(F, "grouped_mm", getattr(torch, "_grouped_mm", None))


class Loop(nn.Module):
    """The layer as one would write it at first."""

    memory = 5.5  # the gradients of all experts are stacked, beside the parts

    def __init__(self, moe: MixtureOfExperts) -> None:
        super().__init__()
        self.moe = moe

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.of(self.moe.gate(x_TD), x_TD)

    def of(self, routing: Routing, x_TD: Tensor) -> Tensor:
        """The experts that were chosen."""
        y_TD = torch.zeros_like(x_TD)
        experts = self.moe.experts
        weights = zip(experts.w_in.unbind(), experts.w_out.unbind(), strict=True)
        splits = routing.counts_E.tolist()
        rows = zip(routing.token_A.split(splits), routing.gate_A.split(splits), strict=True)
        for (w_in, w_out), (tokens, gates) in zip(weights, rows, strict=True):
            x_RD = x_TD.index_select(0, tokens)
            out = (x_RD @ w_in.to(x_RD.dtype)).relu() @ w_out.to(x_RD.dtype)
            y_TD = y_TD.index_add(0, tokens, (gates.unsqueeze(1) * out).to(x_TD.dtype))
        return y_TD


class Exact(Loop):
    """Chooses as the layer does, in its type and by its noise, and computes in float64 from there.

    Other gates would choose others where two are all but equal.
    """

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.of(self.moe.gate(x_TD), x_TD.double())


class Grouped(Loop):
    """With grouped matrix products; all of it in the type of the tokens."""

    memory = 2.5

    def forward(self, x_TD: Tensor) -> Tensor:
        routing = self.moe.gate(x_TD)
        experts, ends_E = self.moe.experts, routing.counts_E.cumsum(0).int()
        x_AD = x_TD.index_select(0, routing.token_A)
        hidden_AH = grouped_mm(x_AD, experts.w_in, offs=ends_E).relu()
        y_AD = grouped_mm(hidden_AH, experts.w_out, offs=ends_E)
        weighed_AD = y_AD * routing.gate_A.unsqueeze(1).to(y_AD.dtype)
        # Each token has as many experts: sorted by token their rows are added without atomics.
        by_token_A = routing.token_A.argsort()
        return weighed_AD.index_select(0, by_token_A).view(len(x_TD), -1, x_TD.shape[1]).sum(1)


class Ours(Loop):
    """This package's."""

    memory = 2.5

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.moe(x_TD)[0]


MIXTURES: dict[str, type[Loop]] = {"ours": Ours, "loop": Loop}
if runs_on("cuda" if torch.cuda.is_available() else "cpu"):
    MIXTURES["grouped_mm"] = Grouped


def check(kind: type[Loop], device: str) -> None:
    """Compare a mixture with a loop in float64, gradients included.

    Raises:
        SystemExit: they differ.
    """
    torch.manual_seed(1)
    moe = MixtureOfExperts(16, 32, 8, 2, "top_k").to(device)
    x_TD = torch.randn(40, 16, device=device)
    found = _outputs(kind(moe), x_TD)
    right = _outputs(Loop(moe.double()), x_TD.double())
    for ours, reference in zip(found, right, strict=True):
        error = (ours - reference).abs().max() / reference.abs().max()
        if not error < 1e-4:
            raise SystemExit(f"error: {kind.__name__} is wrong, by {error:.1e}: not timed")


def check_as_timed(kind: type[Loop], moe: MixtureOfExperts, x_TD: Tensor) -> None:
    """The same in the type and the sizes, and with the gate and its noise, that are timed.

    Raises:
        SystemExit: they differ.
    """
    names = ["the output", "dx", *(f"d{name}" for name, _ in moe.named_parameters())]
    results = []
    for one in (kind, Exact):
        torch.manual_seed(3)  # the noise
        results.append(_outputs(one(moe), x_TD))
    for name, found, right in zip(names, *results, strict=True):
        error = norm(found - right) / norm(right)
        if not error < TOLERANCES[x_TD.dtype]:
            size = f"{len(x_TD):,} tokens, {moe.gate.num_experts} experts"
            raise SystemExit(
                f"error: {name} of {kind.__name__} is wrong, by {error:.1e} with {size}: not timed"
            )


def norm(x: Tensor) -> Tensor:
    """In float32 at least."""
    return torch.linalg.vector_norm(x, dtype=torch.promote_types(x.dtype, torch.float32))


def _outputs(module: Loop, x_TD: Tensor) -> list[Tensor]:
    x_TD = x_TD.requires_grad_()
    y_TD = module(x_TD)
    wanted = [x_TD, *module.moe.parameters()]
    return [y_TD, *torch.autograd.grad((y_TD * y_TD.detach().cos()).sum(), wanted)]
