"""What the benchmarks share: the machine's limits, contenders that take turns, and tables.

All figures are ratios within one run: on a shared machine an absolute time says little. Beside each
table stand what it was measured on, whether that was idle, and two limits of the same run: the
processor's own (peak.py) and that of torch's matrix product.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from idle import Watch
from peak import Bound, Clock, memory, multiply_adds, timed

from nmt_moe.common.files import atomic_write, beside
from nmt_moe.common.table import markdown
from nmt_moe.runs.claims.machine import commit, processor

Seconds = dict[str, list[float]]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
FEWEST = 5
"""Rounds of which the median and the quartiles are shown."""
WARM_UP = {"cpu": 1, "cuda": 5}
"""Rounds before those that count: a GPU raises its clock, and kernels are compiled and chosen."""
CUDA_ROUNDS = 20
LIMITS = ("of FMA peak", "of torch.mm")
"""Heads of what :meth:`Limits.shares` returns."""
UNKNOWN = "unknown"


def parser(description: str | None, rounds: int = 9) -> argparse.ArgumentParser:
    """The options that all have.

    Args:
        rounds: the turns of each on a CPU where ``--rounds`` is not given.
    """
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--rounds", type=int, help=f"turns of each (default: {rounds}, on a GPU {CUDA_ROUNDS})"
    )
    made.set_defaults(cpu_rounds=rounds)
    made.add_argument("--threads", type=int, help="of the CPU (default: all cores)")
    made.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    made.add_argument("--dtype", choices=DTYPES, default="float32", help="(default: float32)")
    made.add_argument("--json", action="store_true", help="print the figures as JSON")
    made.add_argument("--out", type=Path, metavar="FILE", help="write them there, too, as JSON")
    made.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    return made


def start(args: argparse.Namespace) -> None:
    """Obey the options about the machine, be quiet about all else, and begin to watch.

    Raises:
        SystemExit: there are too few rounds.
    """
    args.rounds = args.rounds or (CUDA_ROUNDS if args.device == "cuda" else args.cpu_rounds)
    if args.rounds < FEWEST and not args.quick:
        raise SystemExit(
            f"error: --rounds {args.rounds} says little: give {FEWEST} or more, or --quick"
        )
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    torch.set_num_threads(args.threads or torch.get_num_threads())
    torch.manual_seed(1)
    args.watch = Watch(0.05) if args.quick else Watch()


def machine(device: str) -> dict[str, str | int]:
    """What the figures were measured on."""
    on_gpu = device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if on_gpu else processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "commit": commit(),
        **(card() if on_gpu else {}),
    }


def card() -> dict[str, str | int]:
    """What else the figures of a GPU depend on."""
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        said = UNKNOWN
    try:
        triton = import_module("triton").__version__
    except ImportError:
        triton = "none"
    return {
        "memory": torch.cuda.get_device_properties(0).total_memory,
        "driver": said.partition("\n")[0],
        "cuda": torch.version.cuda or UNKNOWN,
        "cudnn": torch.backends.cudnn.version() or UNKNOWN,
        "triton": triton,
    }


class Limits:
    """What the machine can do, found between the turns of the contenders.

    ``fma`` has the processor's own multiply-adds by type, where they are known; ``product`` is
    torch's square matrix product; ``read`` and ``copy`` are of memory beyond the caches. A GPU has
    product and copy alone, both by torch.

    Args:
        args: the options of the benchmark; ``--dtype`` is the product's.
        more: further types of multiply-adds, such as ``int8``.
    """

    def __init__(self, args: argparse.Namespace, *more: str) -> None:
        self.dtype = args.dtype
        size, numbers = (8192, 2**28) if args.device == "cuda" else (2048, 2**25)
        how = {"tries": 2} if args.quick else {}
        if args.quick:
            size, numbers = 128, 2**16
        a = torch.randn(size, size, device=args.device, dtype=DTYPES[args.dtype])
        product = torch.empty_like(a)
        clock = partial(seconds_of, device=args.device)
        self.product = Bound(lambda: torch.mm(a, a, out=product), 2.0 * size**3, 1, clock)
        self.fma: dict[str, Bound] = {}
        self.memory: dict[str, Bound] = {}
        if args.device == "cpu":
            threads = torch.get_num_threads()
            found = {dtype: multiply_adds(dtype, threads, **how) for dtype in (self.dtype, *more)}
            self.fma = {dtype: bound for dtype, bound in found.items() if bound}
            self.memory = memory(threads, smallest=4 * numbers, **how)
        if not self.memory:
            x = torch.ones(numbers, device=args.device)
            y = torch.empty_like(x)
            copied = 2.0 * numbers * x.element_size()
            self.memory["copy"] = Bound(lambda: y.copy_(x), copied, 1, clock)

    @property
    def turns(self) -> dict[str, Callable[[], object]]:
        """What :func:`take_turns` runs between the contenders."""
        fma = {f"fma {dtype}": bound for dtype, bound in self.fma.items()}
        return fma | {"product": self.product} | self.memory

    def shares(self, rate: float, dtype: str | None = None) -> list[str]:
        """Of the multiply-adds of that type, ``--dtype`` if none is given, and of the product.

        Args:
            rate: operations a second, two for each multiply-add.
        """
        fma = self.fma.get(dtype or self.dtype)
        return [f"{rate / fma.rate:.0%}" if fma else UNKNOWN, f"{rate / self.product.rate:.0%}"]

    def roofline(self, operations: float, size: float) -> float:
        """Seconds that so many operations and bytes of memory take at least, the longer of both."""
        most = self.fma.get(self.dtype, self.product).rate
        return max(operations / most, size / self.memory["copy"].rate)

    def figures(self) -> dict[str, dict[str, object]]:
        """Of each limit the rate, and the seconds of all tries."""
        return {
            name: {"rate": bound.rate, "seconds": bound.seconds}
            for name, bound in self.turns.items()
        }


def take_turns(
    contenders: Mapping[str, Callable[[], Any]],
    rounds: int,
    device: str,
    limits: Limits | None = None,
    clock: Clock | None = None,
) -> Seconds:
    """Seconds of each contender in each round, after those that do not count.

    Each round begins with the next contender, so that none always follows the same one. The limits
    have turns, too, and keep their seconds themselves.

    Args:
        clock: calls a contender and says its seconds; None: :func:`seconds_of` on the device.
    """
    clock = clock or partial(seconds_of, device=device)
    bounds = limits.turns if limits else {}
    names = [*contenders, *bounds]
    seconds: Seconds = {name: [] for name in contenders}
    for turn in range(WARM_UP[device] + rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            if name in bounds:
                bounds[name]()
                continue
            taken = clock(contenders[name])
            if turn >= WARM_UP[device]:
                seconds[name].append(taken)
    return seconds


def seconds_of(call: Callable[[], object], device: str) -> float:
    """What a call takes; on a GPU by its own clock, from the first kernel to the end of the last,
    waits for the host between them included."""
    if device == "cpu":
        return timed(call)
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    began.record()
    call()
    ended.record()
    ended.synchronize()
    return began.elapsed_time(ended) / 1000


def middle(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def ratios(seconds: Seconds, name: str, to: str) -> str:
    """Median of a contender's time over another one's of the same round, and the quartiles."""
    found = [a / b for a, b in zip(seconds[name], seconds[to], strict=True)]
    low, _, high = (
        statistics.quantiles(found, n=4, method="inclusive") if len(found) > 1 else found * 3
    )
    return f"{middle(found):.2f} ({low:.2f}-{high:.2f})"


def report(
    title: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    figures: object,
    args: argparse.Namespace,
    notes: Sequence[str] = (),
    limits: Limits | None = None,
) -> None:
    """Print a table, notes and the limits, or these and the figures behind them as JSON.

    Whether the machine was idle is in both; a line of the errors' output says where it was not.
    """
    about = machine(args.device)
    bounds = limits.turns if limits else {}
    watched = args.watch.found(bounds["copy"].seconds if bounds else ())
    notes = [*notes, *_limit_lines(bounds)]
    content = {"title": title, "machine": about, "heads": heads, "rows": rows, "notes": notes}
    content |= {"rounds": args.rounds, "idle": watched.pop("idle"), "watch": watched}
    content |= {"figures": figures, "limits": limits.figures() if limits else {}}
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write([args.out]) as [file]:
            file.write(json.dumps(content, indent=1) + "\n")
    where = beside(args.out)
    if watched["why"]:
        print(f"warning: the machine was not idle: {watched['why']}", file=sys.stderr)
    if args.json:
        print(json.dumps(content), file=where)
        return
    print(f"{title}; {', '.join(f'{name} {value}' for name, value in about.items())}\n", file=where)
    print("\n".join(markdown(heads, rows)), file=where)
    print("\n".join(notes), file=where)


def _limit_lines(bounds: Mapping[str, Bound]) -> list[str]:
    """The limits in words."""
    work = {name: b.rate for name, b in bounds.items() if name not in ("read", "copy")}
    shown = [f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in work.items()]
    shown += [f"{name} {b.rate / 1e9:.1f} GB/s" for name, b in bounds.items() if name not in work]
    return [f"limits: {', '.join(shown)}"] if shown else []
