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

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from typing import Any

import torch
from dense_layers import Dense, Fused, check_fused
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
from mixtures import MIXTURES, Loop, check, check_as_timed
from peers import PEERS, Autocast, Peer, notes, suited
from peers import check as check_peer
from torch import Tensor, nn

from nmt_moe.moe import MixtureOfExperts


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
