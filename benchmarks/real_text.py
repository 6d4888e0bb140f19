"""Train on real text for some minutes: the validation loss as it falls, by updates and seconds.

The text is a folder of fairseq-preprocess. The model is lstm_moe, or its dense twin, with the same
batches and options.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

from contenders import PAPER, SMALL
from harness import parser, report, start

ROOT = Path(__file__).resolve().parents[1]
TRAIN = "from fairseq_cli.train import cli_main; cli_main()"
LOGGED = re.compile(r"\| INFO \| (valid|train_inner) \| (\{.*\})$")
SETTINGS = [
    *("--criterion", "moe_label_smoothed_cross_entropy", "--label-smoothing", "0.1"),
    *("--moe-importance-weight", "0.01", "--moe-load-weight", "0.01"),
    *("--optimizer", "moe_adam", "--lr", "0.001", "--lr-scheduler", "inverse_sqrt"),
    *("--warmup-updates", "200", "--clip-norm", "1", "--dropout", "0.3"),
    *("--no-save", "--seed", "1", "--log-format", "json", "--log-interval", "20"),
]


def main() -> None:
    """The command line."""
    command = parser(__doc__)
    command.add_argument("data", help="a folder of fairseq-preprocess")
    command.add_argument("--model", choices=["moe", "dense"], default="moe")
    command.add_argument("--seconds", type=int, default=120, help="of the training")
    command.add_argument("--max-tokens", type=int, default=16_384, help="of a batch")
    command.add_argument("--validate-every", type=int, default=100, help="updates")
    args = command.parse_args()
    start(args)
    sizes = PAPER
    if args.quick:
        args.max_tokens, args.validate_every, sizes = 500, 5, SMALL
    options = ["--arch", "lstm_moe", "--feed-forward", args.model, *SETTINGS]
    for name, value in sizes.items():
        options += [f"--{name.replace('_', '-')}", str(value)]
    options += ["--max-tokens", str(args.max_tokens), "--required-batch-size-multiple", "8"]
    options += ["--validate-interval-updates", str(args.validate_every)]
    options += ["--stop-time-hours", str(args.seconds / 3600)]
    options += ["--max-update", "15"] if args.quick else []
    if args.device == "cpu":
        options += ["--cpu", "--num-workers", "0"]
    elif args.dtype == "bfloat16":
        options.append("--bf16")
    trainer = [sys.executable, "-W", "ignore", "-c", TRAIN, args.data]
    valid, rates = [], []
    with subprocess.Popen(
        [*trainer, "--user-dir", str(ROOT / "nmt_moe"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        began = time.monotonic()
        for line in process.stdout or ():
            print(line, end="", file=sys.stderr)
            if not (found := LOGGED.search(line)):
                continue
            kind, said = found[1], json.loads(found[2])
            if kind == "train_inner":
                rates.append(float(said["wps"]))
            else:
                loss, updates = float(said["valid_loss"]), int(said["valid_num_updates"])
                valid.append([updates, time.monotonic() - began, loss])
    if process.returncode or not valid:
        raise SystemExit("error: the training failed, see above")
    rows = [[f"{n:,}", f"{seconds:.0f}", f"{loss:.3f}"] for n, seconds, loss in valid]
    figures = {"valid": valid, "tokens_per_second": rates}
    title = f"Validation loss on real text, {args.model}, {args.seconds} s"
    report(title, ["updates", "seconds", "loss"], rows, figures, args)
    best = min(loss for *_, loss in valid)
    if len(valid) > 1 and not best < valid[0][2]:
        raise SystemExit(f"error: the loss does not fall below {best:.3f}")


if __name__ == "__main__":
    main()
