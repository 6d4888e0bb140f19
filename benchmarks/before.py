"""Whole updates of lstm_moe as they were at a commit, and as they are now, in turns.

    python benchmarks/before.py 5a6a59f

The commit, which an archive may hold (`git archive --output 5a6a59f.tar.gz 5a6a59f`), is unpacked
into a temporary folder; for CPUs its C extensions are built there, as its pyproject.toml has them.
Each version is a process of its own that does an update when it is told to, with the same batch as
the other one, and measures it itself. --dtype is that of now, --before-dtype that of before;
--models may name the dense twin, too.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from contenders import CONTENDERS, PAPER, SMALL, batch, ops
from harness import DTYPES, LIMITS, Limits, middle, parser, ratios, report, start, take_turns

ROOT = Path(__file__).resolve().parents[1]
WORDS = 50


@contextmanager
def unpacked(commit: str, extensions: bool = True) -> Iterator[Path]:
    """A folder with that commit and its C extensions, as long as it is needed.

    Args:
        commit: its name, or an archive of it.
        extensions: build them.

    Raises:
        SystemExit: there is no such commit, or no contenders.py in it.
    """
    with tempfile.TemporaryDirectory() as name:
        if Path(commit).is_file():
            shutil.unpack_archive(commit, name, filter="data")
        else:
            command = ["git", "-C", str(ROOT), "archive", "--format=tar", commit]
            packed = subprocess.run(command, capture_output=True)
            if packed.returncode:
                reason = packed.stderr.decode().strip().rpartition("\n")[2]
                raise SystemExit(f"error: {commit} cannot be unpacked: {reason}")
            subprocess.run(["tar", "-x", "-C", name], input=packed.stdout, check=True)
        folder = Path(name).resolve()
        if not (folder / "benchmarks" / "contenders.py").exists():
            raise SystemExit(f"error: {commit} has no benchmarks/contenders.py: choose a later one")
        if extensions:
            build(folder)
        yield folder


def build(folder: Path) -> None:
    """Compile the extensions of a checkout into it.

    Raises:
        SystemExit: one cannot be compiled.
    """
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    for module in project["tool"]["setuptools"].get("ext-modules", []):
        path = module["name"].replace(".", "/") + sysconfig.get_config_var("EXT_SUFFIX")
        command = [*shlex.split(os.environ.get("CC", "cc")), "-fPIC", "-shared"]
        command += [*module.get("extra-compile-args", []), *module["sources"], "-o", path]
        try:
            subprocess.run([*command, "-lm"], cwd=folder, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"error: {path} cannot be compiled: {error}") from error


@contextmanager
def updater(folder: Path, options: dict[str, object]) -> Iterator[subprocess.Popen]:
    """A process that updates a model with the code of that folder, ready for the first line."""
    where = [folder, folder / "benchmarks", os.environ.get("PYTHONPATH", "")]
    script = Path(__file__).with_name("updater.py")
    with subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", script, json.dumps(options)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, map(str, where)))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            package = Path(answer(process))
            if not package.is_relative_to(folder):
                raise SystemExit(f"error: {package} is imported and not that of {folder}")
            yield process
        finally:
            process.kill()


def tell(process: subprocess.Popen, model: str) -> dict[str, float]:
    """One update, and what :func:`updater.measured` says of it."""
    process.stdin.write(f"{model}\n")
    process.stdin.flush()
    return json.loads(answer(process))


def answer(process: subprocess.Popen) -> str:
    """The next answer; other packages print lines of their own as they are imported.

    Raises:
        SystemExit: the process has ended.
    """
    for line in process.stdout:
        kind, _, text = line.partition("answer: ")
        if not kind:
            return text.strip()
    raise SystemExit("error: an update failed, see above")


def measure(folder: Path, args: Namespace) -> None:
    """Let both versions take turns, and print the table."""
    sizes = SMALL if args.quick else PAPER | {"moe_experts": args.experts}
    sample = batch(args.sentences, args.length, args.vocabulary)
    torch.save(sample, folder / "batch.pt")
    options = {n: getattr(args, n) for n in ("quick", "experts", "vocabulary", "device", "models")}
    options |= {"threads": torch.get_num_threads(), "batch": str(folder / "batch.pt")}
    before_dtype = args.before_dtype or ("float32" if args.device == "cpu" else args.dtype)
    dtypes = {"before": before_dtype, "now": args.dtype}
    limits = Limits(args, *({before_dtype} - {args.dtype}))
    said: dict[str, list[dict[str, float]]] = {}
    with (
        updater(folder, options | {"dtype": dtypes["before"]}) as before,
        updater(ROOT, options | {"dtype": dtypes["now"]}) as now,
    ):

        def turn(name: str, process: subprocess.Popen, model: str) -> float:
            said.setdefault(name, []).append(tell(process, model))
            return said[name][-1]["seconds"]

        turns = {}
        for model in args.models:
            for version, process in {"before": before, "now": now}.items():
                name = called(version, model)
                turns[name] = partial(turn, name, process, model)
        seconds = take_turns(turns, args.rounds, args.device, limits, clock=lambda turn: turn())
    rows = []
    for model in args.models:
        cost = ops(CONTENDERS[model], sizes, args.vocabulary)
        for version, commit in {"before": Path(args.commit).name, "now": "this"}.items():
            name = called(version, model)
            speed = sample["ntokens"] / middle(seconds[name])
            times = ratios(seconds, called("before", model), name)
            shares = limits.shares(6 * cost * speed, dtypes[version])
            row = [name, commit.partition(".")[0], dtypes[version], f"{speed:,.0f}", times, *shares]
            if args.device != "cpu":
                twin = called(version, "dense twin")
                row.append(ratios(seconds, name, twin) if twin in seconds else "")
                row.append(f"{max(one['memory'] for one in said[name]) / 2**30:.1f} GiB")
            rows.append(row)
    heads = ["version", "commit", "dtype", "target tokens/s", "speed, times before's", *LIMITS]
    if args.device != "cpu":
        heads += ["times dense twin's", "memory"]
    title = f"Updates of {sample['ntokens']:,} target tokens, before and now"
    found = {"seconds": seconds, "updates": said}
    report(title, heads, rows, found, args, limits=limits)


def called(version: str, model: str) -> str:
    """A version of a model in tables and figures."""
    return version if model == "lstm_moe" else f"{version}, {model}"


def main() -> None:
    """The command line."""
    command = parser(__doc__, rounds=5)
    command.add_argument("commit", help="what to compare with, such as 5a6a59f")
    command.add_argument("--sentences", type=int, default=128)
    command.add_argument("--length", type=int, default=32, help="of a sentence, with its end")
    command.add_argument("--vocabulary", type=int, default=32_000)
    command.add_argument("--experts", type=int, default=PAPER["moe_experts"])
    command.add_argument(
        "--before-dtype", choices=DTYPES, help="(default: float32, on a GPU that of --dtype)"
    )
    command.add_argument(
        "--models", nargs="+", default=["lstm_moe"], choices=["lstm_moe", "dense twin"]
    )
    args = command.parse_args()
    start(args)
    if args.quick:
        args.rounds, args.sentences, args.length, args.vocabulary = 2, 4, 6, WORDS
    extensions = args.device == "cpu" and not args.quick
    with unpacked(args.commit, extensions) as folder:
        measure(folder, args)


if __name__ == "__main__":
    main()
