"""What recomputing the experts' hidden activations saves and costs (--moe-recompute).

Each way runs forward and backward in processes of its own: one reports the peak of its resident
memory, one the median time.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from statistics import median

import torch

from nmt_moe.moe import MixtureOfExperts


def measure(args: argparse.Namespace, recompute: bool) -> dict[str, float]:
    """Peak memory in bytes and seconds of a forward and backward pass, in this process."""
    torch.manual_seed(1)
    layer = MixtureOfExperts(args.dim, args.hidden_dim, args.experts, args.k, recompute=recompute)
    x_TD = torch.randn(args.tokens, args.dim, requires_grad=True)
    seconds = []
    for _ in range(args.repeat):
        start = time.perf_counter()
        y_TD, _ = layer(x_TD)
        y_TD.sum().backward()
        seconds.append(time.perf_counter() - start)
        layer.zero_grad()
        x_TD.grad = None
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"peak": peak, "seconds": median(seconds)}


def run(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """What :func:`measure` finds in a process of its own."""
    env = os.environ | environment
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout
    return json.loads(output.splitlines()[-1])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in dict(
        tokens=4096, dim=512, hidden_dim=2048, experts=32, k=4, repeat=5
    ).items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=default)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--only", choices=["keep", "recompute"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args, args.only == "recompute")))
        return
    found = {}
    for way in ("keep", "recompute"):
        command = [sys.executable, *sys.argv, "--only", way]
        # glibc then gives freed tensors back at once, so that the peak is that of live ones; it
        # makes every allocation slow.
        exact = run([*command, "--repeat", "1"], {"MALLOC_MMAP_THRESHOLD_": "65536"})
        found[way] = {"peak": exact["peak"], "seconds": run(command, {})["seconds"]}
    hidden = args.tokens * args.k * args.hidden_dim * 4
    saved = found["keep"]["peak"] - found["recompute"]["peak"]
    if args.json:
        print(json.dumps({**found, "saved": saved, "hidden_activations": hidden}))
        return
    print(f"{'hidden activations':20} {'peak memory':>12} {'forward + backward':>20}")
    for way, figures in found.items():
        print(f"{way:20} {figures['peak'] / 2**20:8.0f} MiB {figures['seconds']:18.3f} s")
    print(f"saved {saved / 2**20:.0f} MiB; the hidden activations are {hidden / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
