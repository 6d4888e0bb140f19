"""Speed of a training beside other busy processes, which this starts itself.

The quickstart's training runs through its recipe and as a plain fairseq-train, first alone, then
beside one process that does nothing but work, beside three, and alone again; and once with
OMP_NUM_THREADS at the number of cores, which torch would keep (see
nmt_moe/fairseq_fixes/threads.py). A figure is the number of wordpieces per second between the first
and the last line of the log within some seconds, after some to get used to it, and its share of the
same training's speed alone, the mean of both times.

It needs the machine for itself, and says only whether it was idle at the start. It writes
results/busy.json, from which `python docs/generate.py` writes the table in docs/reliability.md.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path

from harness import middle, parser, report, start

from nmt_moe.runs.folder import settings

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks" / "results" / "busy.json"

RECIPE, PLAIN, KEPT = "recipe", "fairseq-train", "fairseq-train, threads kept"
LOADS = [0, 1, 3, 0]  # other processes
HEADS = ["training", "alone", "beside 1", "beside 3"]
BUSY = [sys.executable, "-c", "while True: pass"]
ENDLESS = ["--max-update", "1000000", "--disable-validation", "--cpu"]
UPDATE = re.compile(r'"wpb": "([\d.]+)".*"num_updates": "(\d+)"')
PATIENCE = 900  # seconds for the preparation of the text and the beginning of a training


def command(way: str, run: Path, every: int) -> list[str]:
    """How to start the training, which logs every so many updates; the recipe, which has to come
    first, prepares the text.
    """
    endless = [*ENDLESS, "--log-interval", str(every)]
    if way == RECIPE:
        return [str(ROOT / "recipes" / "quickstart.sh"), "--", *endless]
    made = settings(run)
    options = [made[name] for name in ("model", "loss", "optimizer", "length")]
    where = [run / "binary", "--user-dir", ROOT / "nmt_moe", "--save-dir", run / "plain"]
    log = ["--log-format", "json", "--required-batch-size-multiple", 1, "--no-save"]
    program = Path(sys.executable).parent / "fairseq-train"
    return [*map(str, [program, *where, *log]), *shlex.split(" ".join(options)), *endless]


def measure(way: str, run: Path, args: Namespace) -> list[float]:
    """Wordpieces per second under each of :data:`LOADS`."""
    shutil.rmtree(run / "training", ignore_errors=True)
    kept = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if way == KEPT:
        kept["OMP_NUM_THREADS"] = str(os.cpu_count())
    with tempfile.TemporaryFile("w+") as output:
        training = subprocess.Popen(
            command(way, run, 1 if args.quick else 20),
            env=kept | {"RUN_DIR": str(run), "CUDA_VISIBLE_DEVICES": ""},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        log = (
            run / "training" / "train.log"
            if way == RECIPE
            else Path(f"/proc/self/fd/{output.fileno()}")
        )
        try:
            until = time.monotonic() + PATIENCE
            while not (log.exists() and done(log)):
                if training.poll() is not None or time.monotonic() > until:
                    output.seek(0)
                    raise RuntimeError(f"the training did not begin: {output.read()}")
                time.sleep(0.2)
            return [beside(load, log, args) for load in LOADS]
        finally:
            os.killpg(training.pid, signal.SIGKILL)
            training.wait()


def done(log: Path) -> float:
    """Wordpieces of all updates so far."""
    pieces = updates = 0.0
    for size, until in UPDATE.findall(log.read_text()):
        pieces += float(size) * (int(until) - updates)
        updates = int(until)
    return pieces


def beside(load: int, log: Path, args: Namespace) -> float:
    """Wordpieces per second beside so many processes."""
    others = [subprocess.Popen(BUSY) for _ in range(load)]
    try:
        time.sleep(args.settle)
        until = time.monotonic() + args.seconds
        seen = [(time.monotonic(), done(log))]
        while time.monotonic() < until:
            time.sleep(0.05)
            pieces = done(log)
            if pieces > seen[-1][1]:
                seen.append((time.monotonic(), pieces))
    finally:
        for other in others:
            other.kill()
            other.wait()
    (_, unseen), *lines = seen
    if len(lines) < 2:  # so slow that there is no time between two lines
        return (seen[-1][1] - unseen) / args.seconds
    (began, before), (ended, after) = lines[0], lines[-1]
    return (after - before) / (ended - began)


def rows(speeds: dict[str, list[float]]) -> list[list[str]]:
    """A line for each way."""
    table = []
    for way, (first, *others, last) in speeds.items():
        alone = (first + last) / 2
        shares = [f"{speed:,.0f} ({speed / max(alone, 1):.0%})" for speed in others]
        table.append([way, f"{alone:,.0f}", *shares])
    return table


def main() -> None:
    """The command line."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--seconds", type=float, default=20, help="of each figure (default: 20)")
    options.add_argument("--settle", type=float, default=4, help="before each (default: 4)")
    args = options.parse_args()
    start(args)
    args.watch.loads_the_machine = True
    if args.quick:
        args.rounds, args.seconds, args.settle = 1, 3, 0
    elif args.out is None:
        args.out = OUT
    subprocess.run([ROOT / "recipes" / "setup.sh"], check=True)  # the recipe would, within its time
    found: dict[str, list[list[float]]] = {RECIPE: [], PLAIN: [], KEPT: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds):
            for way in found:
                found[way].append(measure(way, Path(folder, "run"), args))
    speeds = {way: list(map(middle, zip(*rounds, strict=True))) for way, rounds in found.items()}
    title = f"Wordpieces per second on {os.cpu_count()} cores beside busy processes"
    report(title, HEADS, rows(speeds), {"loads": LOADS, "speeds": speeds, "rounds": found}, args)


if __name__ == "__main__":
    main()
