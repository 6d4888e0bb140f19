"""Which attention is to be the default of a small model: the validation perplexity of each.

Short trainings with the settings of docs/tutorial.md and recipes/quickstart.sh, which differ in
nothing but --attention and the seed; of each the perplexity of the validation set after the last
update, and its attention figures. Settings are chosen on validation text: no test set is read.

    python benchmarks/attention.py phrasebook=data/by-hand/binary

It is no benchmark of speed: all.py leaves it out, and results/attention holds what it wrote. A
training that the file of results has already is not repeated. `python docs/generate.py` writes
the table in docs/training.md from that file.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import machine

from nmt_moe.common import logged
from nmt_moe.common.table import markdown
from nmt_moe.runs.training_log import last_validation

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "results" / "attention" / "trained.json"
KINDS = ("additive", "multiplicative")
FIGURES = (
    logged.PERPLEXITY,
    *map(logged.of_attention, (logged.ENTROPY, logged.TOP_SHARE, logged.LAST_SHARE)),
)
SETTINGS = [
    *("--arch", "lstm_moe_tiny", "--encoder-bidirectional", "--dropout", "0"),
    *("--criterion", "moe_label_smoothed_cross_entropy", "--label-smoothing", "0.1"),
    *("--optimizer", "adam", "--adam-betas", "(0.9,0.98)", "--lr", "3e-3"),
    *("--lr-scheduler", "cosine", "--warmup-updates", "200", "--clip-norm", "1.0"),
    *("--max-tokens", "1000", "--cpu", "--num-workers", "0", "--no-save"),
    *("--log-format", "json", "--log-interval", "50"),
]


def train(data: str, kind: str, seed: int, updates: int) -> dict[str, float]:
    """The figures of the last validation of a training."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(str(Path(sys.executable).parent / "fairseq-train"), data, *SETTINGS),
            *("--user-dir", str(Path(__file__).parents[1] / "nmt_moe"), "--save-dir", folder),
            *("--attention", kind, "--seed", str(seed), "--max-update", str(updates)),
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    found = last_validation(ended.stdout.splitlines())
    if ended.returncode or found is None:
        raise SystemExit(f"error: {' '.join(command)}\n{ended.stdout}{ended.stderr}")
    return {name: float(found[f"valid_{name}"]) for name in FIGURES}


HEADS = ["text", "--attention", "validation perplexity (seeds)", "entropy, bits"]
HEADS += ["top share", "last share"]


def rows(runs: dict[str, Any]) -> list[list[str]]:
    """A row for each text and kind: means, and of the perplexity every seed."""
    table = []
    for name, kinds in runs.items():
        for kind, seeds in kinds.items():
            means = [statistics.mean(run[figure] for run in seeds.values()) for figure in FIGURES]
            each = ", ".join(f"{run['ppl']:.2f}" for run in seeds.values())
            table.append([name, kind, f"{means[0]:.2f} ({each})", *(f"{x:.2f}" for x in means[1:])])
    return table


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", metavar="NAME=BINARY", help="of fairseq-preprocess")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--updates", type=int, default=500)
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help=f"(default: {OUT})")
    args = parser.parse_args()
    kept = json.loads(args.out.read_text()) if args.out.exists() else {"runs": {}}
    kept |= {"machine": machine("cpu"), "settings": SETTINGS, "updates": args.updates}
    for text in args.data:
        name, _, data = text.partition("=")
        for seed in args.seeds:
            for kind in KINDS:
                found = kept["runs"].setdefault(name, {}).setdefault(kind, {})
                if str(seed) not in found:
                    found[str(seed)] = train(data, kind, seed, args.updates)
                    kept |= {"heads": HEADS, "rows": rows(kept["runs"])}
                    args.out.write_text(json.dumps(kept, indent=1) + "\n")
    print("\n".join(markdown(HEADS, rows(kept["runs"]))))


if __name__ == "__main__":
    main()
