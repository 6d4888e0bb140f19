"""What the benchmarks share: the machine's limits, contenders that take turns, and tables.

All figures are ratios within one run: on a shared machine an absolute time says little.
"""

import argparse
import json
import logging
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

import torch

from nmt_moe.common.files import atomic_write, beside
from nmt_moe.common.table import markdown
from nmt_moe.runs.claims.machine import commit, processor

Seconds = dict[str, list[float]]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all have."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--rounds", type=int, default=9, help="turns of each (default: 9)")
    made.add_argument("--threads", type=int, help="of the CPU (default: all cores)")
    made.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    made.add_argument("--dtype", choices=DTYPES, default="float32", help="(default: float32)")
    made.add_argument("--json", action="store_true", help="print the figures as JSON")
    made.add_argument("--out", type=Path, metavar="FILE", help="write them there, too, as JSON")
    made.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    return made


def start(args: argparse.Namespace) -> None:
    """Obey the options about the machine, and be quiet about all else."""
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    torch.set_num_threads(args.threads or torch.get_num_threads())
    torch.manual_seed(1)


def machine(device: str) -> dict[str, str | int]:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name() if device == "cuda" else processor()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "commit": commit(),
    }


def limits(device: str, dtype: torch.dtype) -> tuple[dict[str, Callable[[], object]], float, float]:
    """Contenders that show the machine's limits, the operations of one and the bytes of the other.

    ``product`` is a square matrix product, ``copy`` reads and writes memory beyond the caches.
    """
    size, numbers = (8192, 2**28) if device == "cuda" else (2048, 2**25)
    a = torch.randn(size, size, device=device, dtype=dtype)
    product = torch.empty_like(a)
    x = torch.ones(numbers, device=device)
    y = torch.empty_like(x)
    found: dict[str, Callable[[], object]] = {
        "product": lambda: torch.mm(a, a, out=product),
        "copy": lambda: y.copy_(x),
    }
    return found, 2.0 * size**3, 2.0 * numbers * x.element_size()


def take_turns(contenders: Mapping[str, Callable[[], object]], rounds: int, device: str) -> Seconds:
    """Seconds of each contender in each round, after one that does not count.

    Each round begins with the next contender, so that none always follows the same one.
    """
    names = list(contenders)
    seconds: Seconds = {name: [] for name in names}
    for turn in range(rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            _wait(device)
            began = time.perf_counter()
            contenders[name]()
            _wait(device)
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


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
) -> None:
    """Print a table and notes, or these and the figures behind them as JSON."""
    about = machine(args.device)
    content = {"title": title, "machine": about, "heads": heads, "rows": rows, "notes": notes}
    content["figures"] = figures
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write([args.out]) as [file]:
            file.write(json.dumps(content, indent=1) + "\n")
    where = beside(args.out)
    if args.json:
        print(json.dumps(content), file=where)
        return
    print(f"{title}; {', '.join(f'{name} {value}' for name, value in about.items())}\n", file=where)
    print("\n".join(markdown(heads, rows)), file=where)
    print("\n".join(notes), file=where)
