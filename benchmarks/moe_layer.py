"""The mixture-of-experts layer against a dense one of the same operations per token.

  ours        nmt_moe.moe.MixtureOfExperts, in training, gate included
  dense       Linear -> ReLU -> Linear, with a hidden layer as wide as a token's experts together
  loop        the same mixture written plainly: for each expert, index_select, two products,
              index_add
  grouped_mm  the same with torch's grouped matrix products, where this torch has them

Each turn is a forward and backward pass after which gradients are dropped, as fairseq does. All
mixtures share the gate's parameters. Before they are timed, the outputs and gradients of each are
compared with an evaluation in float64, in small. The roofline is the larger of operations /
(those of the matrix product) and bytes / (those of the copy) of the same run, where the bytes are
each used expert's weights, read twice, and their gradients, written once.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from harness import DTYPES, limits, middle, parser, ratios, report, start, take_turns
from torch import Tensor, nn

from nmt_moe.moe import MixtureOfExperts
from nmt_moe.moe.dispatch import combine

grouped_mm = getattr(F, "grouped_mm", getattr(torch, "_grouped_mm", None))


class Loop(nn.Module):
    """The layer as one would write it at first."""

    def __init__(self, moe: MixtureOfExperts) -> None:
        super().__init__()
        self.moe = moe

    def forward(self, x_TD: Tensor) -> Tensor:
        routing = self.moe.gate(x_TD)
        y_TD = torch.zeros_like(x_TD)
        experts = self.moe.experts
        weights = zip(experts.w_in.unbind(), experts.w_out.unbind(), strict=True)
        splits = routing.counts_E.tolist()
        rows = zip(routing.token_A.split(splits), routing.gate_A.split(splits), strict=True)
        for (w_in, w_out), (tokens, gates) in zip(weights, rows, strict=True):
            out = (x_TD.index_select(0, tokens) @ w_in).relu() @ w_out
            y_TD = y_TD.index_add(0, tokens, (gates.unsqueeze(1) * out).to(x_TD.dtype))
        return y_TD


class Grouped(Loop):
    """With grouped matrix products."""

    def forward(self, x_TD: Tensor) -> Tensor:
        routing = self.moe.gate(x_TD)
        experts, ends_E = self.moe.experts, routing.counts_E.cumsum(0).int()
        x_AD = x_TD.index_select(0, routing.token_A)
        hidden_AH = grouped_mm(x_AD, experts.w_in, offs=ends_E).relu()
        y_AD = grouped_mm(hidden_AH, experts.w_out, offs=ends_E)
        return combine(y_AD, routing, len(x_TD)).to(x_TD.dtype)


class Ours(Loop):
    """This package's."""

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.moe(x_TD)[0]


MIXTURES: dict[str, type[Loop]] = {"ours": Ours, "loop": Loop}
if grouped_mm is not None:
    MIXTURES["grouped_mm"] = Grouped


def check(kind: type[Loop], device: str) -> None:
    """Compare a mixture with one in float64, gradients included.

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


def _outputs(module: Loop, x_TD: Tensor) -> list[Tensor]:
    x_TD = x_TD.requires_grad_()
    y_TD = module(x_TD)
    wanted = [x_TD, *module.moe.parameters()]
    return [y_TD, *torch.autograd.grad((y_TD * y_TD.detach().cos()).sum(), wanted)]


def turn(module: nn.Module, x_TD: Tensor, dy_TD: Tensor) -> Callable[[], None]:
    """Forward and backward pass of a batch."""

    def run() -> None:
        module.zero_grad()
        x_TD.grad = None
        module(x_TD).backward(dy_TD)

    return run


def main() -> None:
    """The command line."""
    command = parser(__doc__)
    command.add_argument("--tokens", type=int, nargs="+", default=[4096, 1024])
    command.add_argument("--experts", type=int, nargs="+", default=[32, 128, 512])
    for name, default in dict(dim=512, hidden_dim=2048, k=4).items():
        command.add_argument("--" + name.replace("_", "-"), type=int, default=default)
    command.add_argument("--leave-out", nargs="+", default=[], choices=list(MIXTURES))
    args = command.parse_args()
    start(args)
    mixtures = {name: kind for name, kind in MIXTURES.items() if name not in args.leave_out}
    for kind in mixtures.values():
        check(kind, args.device)
    how = {"device": args.device, "dtype": DTYPES[args.dtype]}
    bounds, product_flops, copy_bytes = limits(**how)
    rows, figures = [], []
    for tokens in args.tokens:
        x_TD = torch.randn(tokens, args.dim, **how).requires_grad_()
        dy_TD = torch.randn(tokens, args.dim, **how)
        active = args.k * args.hidden_dim
        dense = nn.Sequential(
            nn.Linear(args.dim, active, bias=False),
            nn.ReLU(),
            nn.Linear(active, args.dim, bias=False),
        ).to(**how)
        for experts in args.experts:
            moe = MixtureOfExperts(args.dim, args.hidden_dim, experts, args.k).to(**how)
            nn.init.normal_(moe.gate.w_gate, std=args.dim**-0.5)
            turns = {name: turn(kind(moe), x_TD, dy_TD) for name, kind in mixtures.items()}
            turns["dense"] = turn(dense, x_TD, dy_TD)
            seconds = take_turns(turns | bounds, args.rounds, args.device)
            flops = 6 * tokens * args.k * 2 * args.dim * args.hidden_dim
            weights = int((moe(x_TD)[1].counts_E > 0).sum()) * 2 * args.dim * args.hidden_dim
            roofline = max(
                flops / product_flops * middle(seconds["product"]),
                3 * weights * x_TD.element_size() / copy_bytes * middle(seconds["copy"]),
            )
            for name in turns:
                share = flops / product_flops * middle(seconds["product"]) / middle(seconds[name])
                of_roofline = f"{roofline / middle(seconds[name]):.0%}" if name != "dense" else ""
                row = [name, f"{tokens:,}", f"{experts:,}"]
                rows.append([*row, ratios(seconds, name, "dense"), f"{share:.0%}", of_roofline])
            figures.append({"tokens": tokens, "experts": experts, "seconds": seconds})
    heads = ["layer", "tokens", "experts", "times dense", "of matrix peak", "of roofline"]
    report("MoE layer, forward + backward", heads, rows, figures, args)


if __name__ == "__main__":
    main()
