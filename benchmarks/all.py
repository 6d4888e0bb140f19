"""Run all benchmarks, one after the other, and write the figures of each to --results.

On two CPU cores this takes 15 to 20 minutes. With --device cuda it runs what a GPU is for, all in
bfloat16: the layer with 65,536 tokens and 32 and 512 experts, and whole updates.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
CPU = {
    "moe_layer": ["--rounds", "5"],
    "lstm": [],
    "train_step": ["--rounds", "3"],
    "generate": ["--rounds", "3"],
    "scaling": ["--rounds", "5"],
}
BF16 = ["--device", "cuda", "--dtype", "bfloat16"]
CUDA = {
    "moe_layer": [*BF16, "--tokens", "65536", "--experts", "32", "512", "--leave-out", "loop"],
    "train_step": [*BF16, "--sentences", "512"],
}


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
    for name, options in (CPU if args.device == "cpu" else CUDA).items():
        began = time.monotonic()
        suffix = "" if args.device == "cpu" else "-cuda"
        out = args.results / f"{name}{suffix}.json"
        options = [*options, "--out", str(out), *(["--quick"] if args.quick else [])]
        command = [sys.executable, "-W", "ignore", str(HERE / f"{name}.py"), *options]
        if subprocess.run(command).returncode:
            failed.append(name)
        print(f"\n{name}: {time.monotonic() - began:.0f} s\n", flush=True)
    if failed:
        print(f"error: failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main())
