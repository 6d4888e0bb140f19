"""What spreading the experts of a layer over processes sends and costs.

A layer runs forward and backward on --tokens tokens of each process, in ways that take turns:

  spread   each process holds its share of the experts; tokens travel to them and back
  copies   each process holds all experts and computes its own tokens (data parallel)
  alone    one process holds all experts and computes all tokens; the others wait

Gradients of parameters that have copies are summed after the backward pass. The rest of a model
and the optimizer are left out. The processes use a GPU each and NCCL if there are enough GPUs,
otherwise a thread of the CPU each and gloo.

The benchmark stops if "spread" does not give the outputs and input gradients of "alone".
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from nmt_moe.common.errors import UserError, exit_code
from nmt_moe.moe import MixtureOfExperts
from nmt_moe.moe.balance import max_over_mean
from nmt_moe.moe.gating import GATES
from nmt_moe.moe.mesh import Mesh, mesh_for
from nmt_moe.plan.devices import traffic

BACKENDS = {"cuda": "nccl", "cpu": "gloo"}
WARM_UP = 2  # turns before those that count
TOLERANCE = 1e-9  # in float64, relative to the largest number


def build(args: argparse.Namespace, mesh: Mesh | None) -> MixtureOfExperts:
    """A layer with the same weights whatever the mesh, and gates that prefer some experts."""
    torch.manual_seed(1)
    sizes = (args.dim, args.hidden_dim, args.experts, args.k)
    layer = MixtureOfExperts(*sizes, args.gating, args.groups, mesh=mesh)
    torch.manual_seed(2)
    for name, parameter in layer.gate.named_parameters():
        if name.endswith("w_gate"):
            torch.nn.init.normal_(parameter, std=args.dim**-0.5)
    return layer


def step(layer: MixtureOfExperts, x_TD: Tensor, dy_TD: Tensor) -> tuple[Tensor, Tensor]:
    """Forward and backward pass: the output, and the gradient of the input."""
    layer.zero_grad()
    x_TD = x_TD.detach().requires_grad_()
    y_TD, _ = layer(x_TD)
    y_TD.backward(dy_TD)
    return y_TD.detach(), x_TD.grad


def sum_gradients(module: torch.nn.Module) -> None:
    """Over the processes, which each have a copy of the module."""
    for parameter in module.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)


def gather(found: Any) -> list[Any]:
    """What each process found, in order."""
    everything = [None] * dist.get_world_size()
    dist.all_gather_object(everything, found)
    return everything


def check(whole: MixtureOfExperts, spread: MixtureOfExperts, batch_2PTD: Tensor) -> float:
    """The largest difference between "alone" and "spread", which must be tiny.

    It is without noise, because each process draws its own.
    """
    rank = dist.get_rank()
    differences = []
    with mock.patch.object(torch, "randn_like", torch.zeros_like):
        alone = step(whole, *batch_2PTD.flatten(1, 2))
        parts = step(spread, *batch_2PTD[:, rank])
    for want, got in zip(alone, parts, strict=True):
        own = want.view_as(batch_2PTD[0])[rank]
        differences.append(float((got - own).abs().max() / want.abs().max()))
    worst = torch.tensor(gather(differences)).max().item()
    if not worst <= TOLERANCE:
        raise RuntimeError(f"the processes together differ from one process by {worst:.1e}")
    return worst


@contextmanager
def counted(rank: int) -> Iterator[dict[str, int]]:
    """Bytes handed to ``all_to_all_single`` for other processes; rows and counts apart."""
    sent = {"rows": 0, "counts": 0}
    exchange = dist.all_to_all_single

    def count(output: Tensor, x: Tensor, receives: list[int], sends: list[int], team: Any) -> None:
        elsewhere = sum(sends) - sends[rank]
        kind = "rows" if x.is_floating_point() else "counts"
        sent[kind] += elsewhere * x.shape[1:].numel() * x.element_size()
        exchange(output, x, receives, sends, team)

    with mock.patch.object(dist, "all_to_all_single", count):
        yield sent


def measure_sent(spread: MixtureOfExperts, x_TD: Tensor, dy_TD: Tensor) -> dict[str, Any]:
    """Bytes that each process sends in one step, and how evenly the rows are spread."""
    rank, world = dist.get_rank(), dist.get_world_size()
    with counted(rank) as forward:
        y_TD, routing = spread(x_TD.detach().requires_grad_())
    with counted(rank) as backward:
        y_TD.backward(dy_TD)
    counts_PE = torch.tensor(gather(routing.counts_E.tolist()), dtype=torch.float64)
    rows_PP = counts_PE.view(world, world, -1).sum(2)
    return {
        "sent": gather({"forward": forward, "backward": backward}),
        "rows_from_to": rows_PP.int().tolist(),
        "imbalance": {
            "process": max_over_mean(rows_PP.sum(0)).item(),
            "expert": max_over_mean(counts_PE.sum(0)).item(),
        },
    }


def measure_time(
    ways: dict[str, Callable[[], Any]], repeat: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds until the last process is done, of each way in each turn."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(WARM_UP + repeat):
        for way, run in ways.items():
            dist.barrier()
            wait()
            start = time.perf_counter()
            run()
            wait()
            seconds[way].append(max(gather(time.perf_counter() - start)))
    return {way: found[WARM_UP:] for way, found in seconds.items()}


def work(rank: int, args: argparse.Namespace, kind: str, folder: str) -> None:
    """One process's part; the first leaves the figures in the folder."""
    torch.set_num_threads(1)
    device = torch.device(kind, rank if kind == "cuda" else 0)
    if kind == "cuda":
        torch.cuda.set_device(device)
    backend, meeting = BACKENDS[kind], f"file://{folder}/rendezvous"
    dist.init_process_group(backend, meeting, rank=rank, world_size=args.processes)
    whole = build(args, None).to(device)
    spread = build(args, mesh_for(args.experts, args.processes)).to(device)
    torch.manual_seed(3)  # tokens, and gradients of their outputs
    batch_2PTD = torch.randn(2, args.processes, args.tokens, args.dim).to(device)
    difference = check(whole.double(), spread.double(), batch_2PTD.double())

    whole, spread = whole.float(), spread.float()
    everything, own = batch_2PTD.flatten(1, 2), batch_2PTD[:, rank]
    torch.manual_seed(rank)  # noise
    ways = {
        "spread": lambda: (step(spread, *own), sum_gradients(spread.gate)),
        "copies": lambda: (step(whole, *own), sum_gradients(whole)),
        "alone": lambda: step(whole, *everything) if rank == 0 else None,
    }
    figures = {"device": kind, "difference": difference, **measure_sent(spread, *own)}
    figures["seconds"] = measure_time(ways, args.repeat, device)
    if rank == 0:
        Path(folder, "figures").write_text(json.dumps(figures))
    dist.destroy_process_group()


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All figures, under the names that ``--json`` has."""
    for name, least in {"processes": 2, "tokens": 1, "repeat": 1}.items():
        if getattr(args, name) < least:
            raise UserError(f"--{name} must be at least {least}, not {getattr(args, name)}")
    if args.experts % args.processes:
        raise UserError(f"--processes {args.processes} does not divide {args.experts} experts")
    with torch.device("meta"):
        plan = traffic(build(args, None), args.processes, args.tokens, "float32")
    kind = "cuda" if torch.cuda.device_count() >= args.processes else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (args, kind, folder), args.processes)
        figures = json.loads(Path(folder, "figures").read_text())
    return {**vars(args), **figures, "planned": plan.bytes_sent}


def table(figures: dict[str, Any]) -> Iterator[str]:
    """The figures for people, line by line."""
    yield "{processes} processes ({device}), {tokens:,} tokens each".format_map(figures)
    layer = "{experts} experts, {dim} x {hidden_dim}, groups {groups}, k {k}, {gating}"
    yield layer.format_map(figures)
    yield "largest difference from one process: {difference:.1e}".format_map(figures)

    def row(name: str, cells: list[str]) -> str:
        return f"  {name:26}" + "".join(f"{cell:>14}" for cell in cells)

    def per_process(name: str, values: list[int]) -> str:
        return row(name, [f"{value:,.0f}" for value in [*values, mean(values)]])

    sent, planned = figures["sent"], figures["planned"]
    places = [f"process {place}" for place in range(len(sent))]
    yield row("bytes sent in a step", [*places, "mean"])
    for kind in ("rows", "counts"):
        for direction in ("forward", "backward"):
            yield per_process(f"{kind}, {direction}", [found[direction][kind] for found in sent])
    rows = [found["forward"]["rows"] + found["backward"]["rows"] for found in sent]
    yield per_process("rows, both", rows)
    yield per_process("rows, planned", [planned for _ in rows])
    yield row("both / planned", [f"{value / planned:.4f}" for value in [*rows, mean(rows)]])
    yield row("seconds of a step", ["median", "lowest", "highest", "/ spread"])
    middle = median(figures["seconds"]["spread"])
    for way, seconds in figures["seconds"].items():
        shown = [f"{f(seconds):.4f}" for f in (median, min, max)]
        yield row(way, [*shown, f"{median(seconds) / middle:.2f}"])
    yield row("rows, most / mean", ["of a process", "of an expert"])
    yield row("", [f"{value:.3f}" for value in figures["imbalance"].values()])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    numbers = dict(processes=2, tokens=1024, dim=512, hidden_dim=1024, experts=32, k=4)
    for name, default in {**numbers, "groups": 1, "repeat": 7}.items():
        option, shown = "--" + name.replace("_", "-"), f"default: {default}"
        parser.add_argument(option, type=int, default=default, metavar="N", help=shown)
    parser.add_argument("--gating", choices=GATES, default="noisy_top_k")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()

    def run() -> None:
        figures = measure(args)
        print(json.dumps(figures, indent=2) if args.json else "\n".join(table(figures)))

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
