"""The quickstart as it was at a commit, and as it is now, in turns: its time and its BLEU.

    python benchmarks/demo.py e9550d1 --rounds 5

Both commits are unpacked into temporary folders, with their C extensions, and run what make demo
runs. Each round has a seed of its own for the corpus and the training. On CPUs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from before import unpacked
from harness import Seconds, parser, ratios, report, start

QUICK = {"TRAIN_PAIRS": "100", "VALID_PAIRS": "20", "TEST_PAIRS": "20", "VOCABULARY": "200"}


def borrow_environment(folder: Path) -> None:
    """Let the recipes of a checkout take the packages that this program has."""
    own = folder / ".venv"
    own.mkdir()
    for name in ("bin", "lib", "lib64", "include", "pyvenv.cfg"):
        if (there := Path(sys.prefix, name)).exists():
            (own / name).symlink_to(there)
    (own / "installed").write_text(f"{folder}\n")  # what recipes/setup.sh looks for


def quickstart(folder: Path, seed: int, quick: bool) -> tuple[float, float]:
    """Run it once.

    Returns:
        Its seconds, and the BLEU of its test text.

    Raises:
        SystemExit: it failed.
    """
    run = folder / "data" / f"demo-{seed}"
    settings = {"RUN_DIR": str(run), "SEED": str(seed), "PYTHONPATH": str(folder)}
    command = [str(folder / "recipes" / "quickstart.sh")]
    if quick:
        settings |= QUICK
        command += ["--", "--max-update", "2"]
    began = time.monotonic()
    ended = subprocess.run(
        command, env=os.environ | settings, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if ended.returncode:
        raise SystemExit(f"error: the quickstart failed:\n{ended.stdout}{ended.stderr}")
    seconds = time.monotonic() - began
    return seconds, json.loads((run / "translation" / "detokenised.json").read_text())["score"]


def measure(folders: Mapping[str, Path], args: argparse.Namespace) -> None:
    """Let both versions take turns, and print the table."""
    seconds: Seconds = {name: [] for name in folders}
    bleu: dict[str, list[float]] = {name: [] for name in folders}
    for seed in range(1, args.rounds + 1):
        for name, folder in folders.items():
            took, score = quickstart(folder, seed, args.quick)
            seconds[name].append(took)
            bleu[name].append(score)
            print(f"{name}, seed {seed}: {took:.0f} s, BLEU {score:.2f}", file=sys.stderr)
    rows = []
    for name, commit in {"before": args.commit, "now": "this"}.items():
        spread = f"{min(bleu[name]):.2f} to {max(bleu[name]):.2f}"
        middle = statistics.median(seconds[name])
        times = ratios(seconds, name, "before")
        rows.append(
            [name, commit, f"{middle:.0f}", times, f"{statistics.mean(bleu[name]):.2f}", spread]
        )
    heads = ["version", "commit", "seconds", "time, times before's", "BLEU", "lowest and highest"]
    title = f"The quickstart with {args.rounds} seeds, before and now"
    report(title, heads, rows, {"seconds": seconds, "bleu": bleu}, args)


def main() -> None:
    """The command line."""
    command = parser(__doc__, rounds=5)
    command.add_argument("commit", help="what to compare with, such as e9550d1")
    args = command.parse_args()
    start(args)
    if args.device != "cpu" or args.threads or args.dtype != "float32":
        raise SystemExit("error: demo.py runs make demo as it is: leave the other options out")
    if args.quick:
        args.rounds = 1
    with unpacked(args.commit) as before, unpacked("HEAD") as now:
        for folder in (before, now):
            borrow_environment(folder)
        measure({"before": before, "now": now}, args)


if __name__ == "__main__":
    main()
