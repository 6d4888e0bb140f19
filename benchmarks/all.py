"""Run all benchmarks, one after the other, write the figures of each to --results, and draw them.

The layer and whole updates are measured in float32, and where the processor multiplies bfloat16 in
that, too. With --device cuda it runs what a GPU is for, all in bfloat16: the layer with 65,536
tokens and 32 and 512 experts, and whole updates; gpu.sh measures more. The search has one thread,
as translators are compared by the core. --quick leaves out busy.py, which trains, before.py and
demo.py, which need the history of the repository, and serve.py, which needs the model of make demo.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from peak import multiplies

HERE = Path(__file__).parent
BEFORE = "5a6a59f"
"""The last commit whose products are all torch's."""
DEMO = "e9550d1"
"""The last one whose quickstart trained with these."""
CPU: dict[str, list[str]] = {
    "moe_layer": ["--rounds", "5"],
    "lstm": [],
    "train_step": [],
    "generate": ["--threads", "1"],
    "regularisation": ["--rounds", "25", "--threads", "1"],
    "scaling": [],
    "before": [BEFORE],
    "demo": [DEMO],
    "busy": ["--seconds", "6", "--settle", "2"],
    "serve": [],
}
BF16 = ["--dtype", "bfloat16"]
CPU_BF16 = {
    "before-bfloat16": [BEFORE, *BF16, "--before-dtype", "float32"],
    "moe_layer-bfloat16": [*BF16, "--rounds", "5", "--tokens", "4096"],
    "regularisation-bfloat16": [*BF16, "--rounds", "25", "--threads", "1"],
    "train_step-bfloat16": BF16,
}
GPU = ["--device", "cuda", *BF16]
CUDA = {
    "moe_layer-cuda": [*GPU, "--tokens", "65536", "--experts", "32", "512", "--leave-out", "loop"],
    "train_step-cuda": [*GPU, "--sentences", "512"],
}
"""The options of each file of results; the benchmark is what comes before the hyphen."""

SLOW = ("busy", "before", "before-bfloat16", "demo", "serve")


def chosen(device: str, quick: bool) -> dict[str, list[str]]:
    """What is run."""
    if device == "cuda":
        return CUDA
    every = CPU | (CPU_BF16 if multiplies("bfloat16") else {})
    return {name: options for name, options in every.items() if not (quick and name in SLOW)}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    args = parser.parse_args()
    failed = []
    for name, options in chosen(args.device, args.quick).items():
        began = time.monotonic()
        out = args.results / f"{name}.json"
        options = [*options, "--out", str(out), *(["--quick"] if args.quick else [])]
        if run(name.partition("-")[0], *options):
            failed.append(name)
        print(f"\n{name}: {time.monotonic() - began:.0f} s\n", flush=True)
    if args.device == "cpu" and not failed and run("picture", "--results", str(args.results)):
        failed.append("picture")
    if failed:
        print(f"error: failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed) > 0


def run(name: str, *options: str) -> int:
    """Run a benchmark; its exit code."""
    command = [sys.executable, "-W", "ignore", str(HERE / f"{name}.py"), *options]
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
