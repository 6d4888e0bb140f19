"""The mixture-of-experts layer against a dense one of the same operations per token.

  ours        nmt_moe.moe.MixtureOfExperts, in training, gate included
  dense       Linear -> ReLU -> Linear, with a hidden layer as wide as all experts of a token and
              the same products
  loop        the same mixture written plainly: for each expert, index_select, two products,
              index_add
  grouped_mm  the same with torch's grouped matrix products, where this torch has them
  fused       dense, with the ReLU in its first product (--fused-relu)
  and the layers of other packages that are installed, see peers.py: each with gates of its own,
              which are not the paper's

Forward is in training too, with what the backward pass needs. Forward and backward drop the
gradients after each turn, as fairseq does. Mixtures of the same weights take turns with dense; each
other layer does alone with dense, so that the memory holds one at a time, and is left out where it
would not fit. Before they are timed, the outputs and gradients of each are compared with an
evaluation in float64, in small; of others', with the gates that they chose, but without the losses
that balance their experts. On a GPU, whose kernels depend on type and size, they are compared as
they are timed, too: ours with its noise and what it chose, others' with fewer tokens and experts.
The roofline is the larger of operations / (those of the FMA peak) and bytes / (those of the copy)
of the same run, where the bytes are each used expert's weights, read twice, and their gradients,
written once. The gate counts nothing.

With --dtype bfloat16 all contenders have weights and tokens in it, so that all get the same
products; those of others that mix types then run under torch.autocast.
"""

import copy
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from typing import Any

import torch
import torch.nn.functional as F
from harness import (
    DTYPES,
    LIMITS,
    Limits,
    Seconds,
    middle,
    parser,
    ratios,
    report,
    start,
    take_turns,
)
from peers import PEERS, Autocast, Peer, notes, suited
from peers import check as check_peer
from torch import Tensor, nn

from nmt_moe.kernels.gpu.grouped_mm import runs_on
from nmt_moe.models.linear import apply
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
            rows = x_TD.index_select(0, tokens)
            out = (rows @ w_in.to(rows.dtype)).relu() @ w_out.to(rows.dtype)
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
        error = _norm(found - right) / _norm(right)
        if not error < TOLERANCES[x_TD.dtype]:
            size = f"{len(x_TD):,} tokens, {moe.gate.num_experts} experts"
            raise SystemExit(
                f"error: {name} of {kind.__name__} is wrong, by {error:.1e} with {size}: not timed"
            )


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dtype=torch.promote_types(x.dtype, torch.float32))


def _outputs(module: Loop, x_TD: Tensor) -> list[Tensor]:
    x_TD = x_TD.requires_grad_()
    y_TD = module(x_TD)
    wanted = [x_TD, *module.moe.parameters()]
    return [y_TD, *torch.autograd.grad((y_TD * y_TD.detach().cos()).sum(), wanted)]


def turn(module: nn.Module, x_TD: Tensor, dy_TD: Tensor) -> Callable[[], None]:
    """Forward and backward pass of a batch."""

    def run() -> None:
        module(x_TD).backward(dy_TD)
        module.zero_grad()
        x_TD.grad = None

    return run


def turns(modules: Mapping[str, nn.Module], x_TD: Tensor, dy_TD: Tensor) -> dict[str, Any]:
    """Of each module: forward alone, and with backward."""
    forward = {f"{name}, forward": lambda m=m: m(x_TD) for name, m in modules.items()}
    return forward | {name: turn(m, x_TD, dy_TD) for name, m in modules.items()}


def fits(kind: type[Loop] | type[Peer], parameters: int, device: str) -> bool:
    """Whether so many do, with their gradients and what else the layer needs."""
    if device != "cpu":
        return True
    with open("/proc/meminfo") as lines:
        free = next(int(x.split()[1]) for x in lines if x.startswith("MemAvailable")) * 1024
    return 4 * kind.memory * parameters < free


class Dense(nn.Sequential):
    """Layers by the products that a dense model of this package has."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = apply(layer, x)
        return x


class _FusedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, w_HD: Tensor, zeros_H: Tensor) -> Tensor:
        y_TH = torch._addmm_activation(zeros_H, x_TD, w_HD.t())
        ctx.save_for_backward(x_TD, w_HD, y_TH)
        return y_TH

    @staticmethod
    def backward(ctx: Any, dy_TH: Tensor) -> tuple[Tensor, Tensor, None]:
        x_TD, w_HD, y_TH = ctx.saved_tensors
        dy_TH = torch.ops.aten.threshold_backward(dy_TH, y_TH, 0)
        return dy_TH @ w_HD, dy_TH.t() @ x_TD, None


class Fused(nn.Module):
    """The dense layer's weights; on a GPU the ReLU takes no pass of its own in the forward pass."""

    def __init__(self, dense: Dense) -> None:
        super().__init__()
        self.first, _, self.last = dense
        self.register_buffer("zeros_H", torch.zeros_like(self.first.weight[:, 0]))

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.last(_FusedReLU.apply(x_TD, self.first.weight, self.zeros_H))


def check_fused(dense: Dense, x_TD: Tensor) -> None:
    """Compare the fused layer with the dense one.

    Raises:
        SystemExit: they differ.
    """
    results = []
    exact = copy.deepcopy(dense).double()
    for layer, x in ((Fused(dense), x_TD), (exact, x_TD.double())):
        y_TD = layer(x)
        results.append([y_TD, *torch.autograd.grad(y_TD.square().sum(), [*layer.parameters()])])
    for found, right in zip(*results, strict=True):
        if not _norm(found - right) < TOLERANCES[x_TD.dtype] * _norm(right):
            raise SystemExit("error: fused is wrong: not timed")


class Table:
    """The rows, and the figures behind them."""

    def __init__(self, args: Any) -> None:
        self.args, self.found, self.figures = args, [], []
        self.how = {"device": args.device, "dtype": DTYPES[args.dtype]}
        self.limits = Limits(args)

    def measure(
        self, modules: dict[str, nn.Module], x_TD: Tensor, dy_TD: Tensor, experts: int, used: int
    ) -> None:
        """Let modules take turns, "dense" among them, and add a row for each other one."""
        args = self.args
        found = take_turns(turns(modules, x_TD, dy_TD), args.rounds, args.device, self.limits)
        flops = 6 * len(x_TD) * args.k * 2 * args.dim * args.hidden_dim
        memory = 3 * used * 2 * args.dim * args.hidden_dim * x_TD.element_size()
        times = {}
        for name in modules:
            time = middle(found[name])
            row = [name, f"{len(x_TD):,}", f"{experts:,}"]
            row += [_against_dense(found, name, ", forward"), _against_dense(found, name, "")]
            if name != "dense" or "ours" in modules:
                self.found.append((row, time, flops, memory))
            times[name] = time / middle(found["dense"])
        del times["dense"]
        same = {"tokens": len(x_TD), "experts": experts}
        if self.figures and self.figures[-1].items() >= same.items():
            self.figures[-1]["times_dense"] |= times
            self.figures[-1]["seconds"] |= {name: found[name] for name in times}
        else:
            self.figures.append(same | {"times_dense": times, "seconds": found})

    def rows(self) -> list[list[str]]:
        """With the shares of the limits, which the whole run has found."""
        made = []
        for row, time, flops, memory in self.found:
            roofline = self.limits.roofline(flops, memory) / time
            shown = f"{roofline:.0%}" if row[0] != "dense" else ""
            made.append([*row, *self.limits.shares(flops / time), shown])
        return made


def _against_dense(found: Seconds, name: str, kind: str) -> str:
    return ratios(found, name + kind, "dense" + kind)


def main() -> None:
    """The command line."""
    command = parser(__doc__)
    command.add_argument("--tokens", type=int, nargs="+", default=[4096, 1024])
    command.add_argument("--experts", type=int, nargs="+", default=[32, 128, 512])
    for name, default in dict(dim=512, hidden_dim=2048, k=4).items():
        command.add_argument("--" + name.replace("_", "-"), type=int, default=default)
    command.add_argument("--leave-out", nargs="+", default=[], choices=[*MIXTURES, *PEERS])
    command.add_argument("--fused-relu", action="store_true", help="time dense with it, too")
    args = command.parse_args()
    start(args)
    if args.quick:
        args.tokens, args.experts, args.rounds = [32, 48], [4, 8], 2
        args.dim, args.hidden_dim, args.k = 16, 32, 2
    mixtures = {name: kind for name, kind in MIXTURES.items() if name not in args.leave_out}
    peers = {name: kind for name, kind in PEERS.items() if name not in args.leave_out}
    remarks = notes()
    if args.device != "cpu":  # others have been tried on CPUs only
        peers = {name: kind for name, kind in peers.items() if kind.on_gpu}
        remarks = []
    else:
        peers = {name: kind for name, kind in peers.items() if kind.on_cpu}
    for kind in mixtures.values():
        check(kind, args.device)
    as_timed = args.device != "cpu" or args.quick  # large ones would not fit a CPU's memory
    with redirect_stdout(sys.stderr):  # some say what they do
        for kind in peers.values():
            check_peer(kind, args.device)
            if args.device != "cpu":
                sizes = (args.dim, args.hidden_dim, 32, args.k, 2048)
                check_peer(kind, args.device, DTYPES[args.dtype], sizes)
    table = Table(args)
    everyone: dict[str, Any] = mixtures | peers
    for tokens in args.tokens:
        x_TD = torch.randn(tokens, args.dim, **table.how).requires_grad_()
        dy_TD = torch.randn(tokens, args.dim, **table.how)
        active = args.k * args.hidden_dim
        dense = Dense(
            nn.Linear(args.dim, active, bias=False),
            nn.ReLU(),
            nn.Linear(active, args.dim, bias=False),
        ).to(**table.how)
        if args.fused_relu:
            check_fused(dense, x_TD)
        for experts in args.experts:
            parameters = experts * 2 * args.dim * args.hidden_dim
            fitting = {n: k for n, k in everyone.items() if fits(k, parameters, args.device)}
            remarks += [
                f"left out, too large for the memory: {name}, {experts} experts"
                for name in everyone
                if name not in fitting
            ]
            print(f"{tokens:,} tokens, {experts} experts: {', '.join(fitting)}", file=sys.stderr)
            moe = MixtureOfExperts(args.dim, args.hidden_dim, experts, args.k).to(**table.how)
            nn.init.normal_(moe.gate.w_gate, std=args.dim**-0.5)
            used = int((moe(x_TD)[1].counts_E > 0).sum())
            modules: dict[str, nn.Module] = {n: mixtures[n](moe) for n in mixtures if n in fitting}
            for name in modules if as_timed else ():
                if name != "loop":
                    check_as_timed(mixtures[name], moe, x_TD)
            modules |= {"dense": dense} | ({"fused": Fused(dense)} if args.fused_relu else {})
            table.measure(modules, x_TD, dy_TD, experts, used)
            del moe, modules
            for name, kind in peers.items():
                if name in fitting:
                    with redirect_stdout(sys.stderr):
                        made = kind(args.dim, args.hidden_dim, experts, args.k).to(**table.how)
                        peer = suited(made, x_TD)
                    if isinstance(peer, Autocast):
                        remarks.append(f"by torch.autocast, mixes types otherwise: {name}")
                    table.measure({name: peer, "dense": dense}, x_TD, dy_TD, experts, used)
                    del made, peer
    heads = ["layer", "tokens", "experts", "forward, times dense", "with backward, times dense"]
    heads += [*LIMITS, "of roofline"]
    remarks = list(dict.fromkeys(remarks))
    title = f"MoE layer, {args.dtype}"
    report(title, heads, table.rows(), table.figures, args, remarks, table.limits)


if __name__ == "__main__":
    main()
