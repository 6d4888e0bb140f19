"""The steps of gpu.sh: each a program with a time limit of its own, whose results are kept.

Shortest first. Of each step OUT gets STEP.json: what the program reports, and under "step" how it
ended, with the last lines of one that failed or ran out of time; the others go on. STEP.log has all
that it printed. Steps that have succeeded are not repeated; those that would not fit into what is
left of --limit are left out, the last ones first.
"""

import argparse
import contextlib
import ctypes
import glob
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BF16 = ["--dtype", "bfloat16"]
KERNELS = ["tests/kernels/test_gpu*.py"]
LENGTH = 32
KEPT = 20
"""Last lines of a step that failed."""
PATIENCE = 5
"""Times the limits, in miniature: a CPU may be busy."""
TIMED_OUT = 124
"""What `timeout` ends with."""


@dataclass
class Step:
    """A program of this folder."""

    name: str
    limit: int
    """Seconds."""
    program: list[str]
    tiny: list[str] = field(default_factory=list)
    """Further options in miniature."""
    least: int = 15
    """Seconds without which it is not started."""


def steps(before: str, text: str) -> list[Step]:
    """All of them, in their order.

    Args:
        before: an archive of the commit to compare with.
        text: a folder of fairseq-preprocess; empty without one.
    """
    versions = ["before", before, *BF16, "--models", "lstm_moe", "dense twin"]
    layer = ["moe_layer", *BF16, "--leave-out", "loop", "--fused-relu"]
    found = [
        Step("ceilings", 40, ["ceilings", *BF16]),
        Step("precision", 60, ["precision", *BF16]),
        Step("kernels", 150, ["correct", *KERNELS], ["-k", "group_sums or no_rows"], 60),
        Step("collectives", 60, ["correct", "tests/parallel/test_mesh.py", "-k", "mesh_of_one_on"]),
        Step("parts", 75, ["parts", *BF16]),
        Step("waits", 60, ["waits", *BF16]),
        Step("layer-32", 90, [*layer, "--tokens", "16384", "65536", "--experts", "32"]),
        Step("layer-512", 90, [*layer, "--tokens", "16384", "65536", "--experts", "512"]),
        Step("layer-2048", 90, [*layer, "--tokens", "16384", "65536", "--experts", "2048"]),
        Step("updates-16k", 75, [*versions, "--sentences", str(2**14 // LENGTH)]),
        Step("updates-65k", 90, [*versions, "--sentences", str(2**16 // LENGTH)]),
        Step("search", 90, ["generate", *BF16, "--leave-out", "plain", "--rounds", "7"]),
        Step("large", 180, ["large", *BF16], least=60),
    ]
    if text:
        for model in ("moe", "dense"):
            program = ["real_text", text, *BF16, "--model", model, "--seconds", "120"]
            found.append(Step(f"text-{model}", 170, program, ["--dtype", "float32"], 140))
    return found


def command(step: Step, out: Path, device: str, miniature: bool) -> list[str]:
    """The whole program, stopped by `timeout` with all that it has started."""
    name, *options = step.program
    files = [sorted(glob.glob(o, root_dir=ROOT)) if "*" in o else [o] for o in options]
    options = [word for words in files for word in words]
    if miniature:
        options += ["--quick", "--threads", "1", *step.tiny]
    made = [sys.executable, "-W", "ignore", str(HERE / f"{name}.py"), *options]
    return [*made, "--device", device, "--out", str(out)]


def run(step: Step, out: Path, device: str, miniature: bool, left: float) -> dict[str, Any]:
    """Run it, and write its file; what that says of how it ended."""
    report = out / f"{step.name}.part.json"
    report.unlink(missing_ok=True)
    limit = min(step.limit * (PATIENCE if miniature else 1), int(left))
    words = command(step, report, device, miniature)
    began = time.monotonic()
    with (out / f"{step.name}.log").open("w") as log:
        code = subprocess.Popen(
            ["timeout", "--kill-after=5", str(limit), *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent,
        ).wait()
    ended: dict[str, Any] = {
        "name": step.name,
        "ok": code == 0,
        "seconds": round(time.monotonic() - began, 1),
        "limit": limit,
        "command": [word.replace(f"{ROOT}/", "") for word in words],
    }
    if code:
        lines = (out / f"{step.name}.log").read_text(errors="replace").splitlines()
        late = code in (TIMED_OUT, -signal.SIGKILL, 128 + signal.SIGKILL)
        ended["why"] = f"ran out of time, {limit} s" if late else f"ended with {code}"
        ended["last_lines"] = lines[-KEPT:]
    found = json.loads(report.read_text()) if report.exists() else {}
    write(out / f"{step.name}.json", {"step": ended, **found})
    report.unlink(missing_ok=True)
    return ended


def _end_with_parent() -> None:
    """Let the system stop a step whose gpu.py was killed: `timeout` passes the signal on."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def write(path: Path, content: object) -> None:
    """A whole file or none."""
    part = path.with_name(path.name + ".new")
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(path)


def done(out: Path, step: Step) -> dict[str, Any] | None:
    """How it ended in an earlier run, if that was well."""
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        ended = json.loads((out / f"{step.name}.json").read_text())["step"]
        return ended if ended["ok"] else None
    return None


def checksum(root: Path) -> str:
    """Of the code that is measured: a copy without git has the commit that it was prepared at."""
    sums = hashlib.sha256()
    for path in sorted([*root.glob("nmt_moe/**/*.py"), *root.glob("benchmarks/*.py")]):
        sums.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return sums.hexdigest()


def note_commit(out: Path, names: list[str], prepared: dict[str, str]) -> None:
    """Into the files of a copy without git."""
    commit = prepared["commit"] + ("" if prepared["checksum"] == checksum(ROOT) else "+")
    for name in names:
        path = out / f"{name}.json"
        found = json.loads(path.read_text())
        if "machine" in found and not found["machine"]["commit"]:
            found["machine"]["commit"] = commit
            write(path, found)


def summary(out: Path, wanted: list[Step]) -> Iterator[str]:
    """A line for each step."""
    for step in wanted:
        path = out / f"{step.name}.json"
        ended = json.loads(path.read_text())["step"] if path.exists() else {}
        said = "ok" if ended.get("ok") else ended.get("why", "not run: no time was left")
        yield f"{step.name:12} {ended.get('seconds', 0):6.1f} s  {said}"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prepared", type=Path, help="what gpu_prepare.py made")
    parser.add_argument("out", type=Path, help="a folder for the results")
    parser.add_argument("--limit", type=float, default=600, help="seconds (default: 600)")
    parser.add_argument("--only", default="", metavar="STEP,STEP", help="these alone")
    parser.add_argument("--list", action="store_true", help="show the steps, and end")
    parser.add_argument("--miniature", action="store_true", help="on a CPU, all of it tiny")
    parser.add_argument("--began", type=float, default=time.time(), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.prepared, args.out = args.prepared.resolve(), args.out.resolve()
    prepared = json.loads((args.prepared / "prepared.json").read_text())
    text = str(args.prepared / "text") if (args.prepared / "text").is_dir() else ""
    wanted = steps(str(args.prepared / prepared["before"]), text)
    only = args.only.split(",") if args.only else [step.name for step in wanted]
    if unknown := {*only} - {step.name for step in wanted}:
        parser.error(f"no such step: {', '.join(sorted(unknown))}; see --list")
    wanted = [step for step in wanted if step.name in only]
    if args.list:
        print("\n".join(f"{step.name:12} at most {step.limit:3} s" for step in wanted))
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONUNBUFFERED"] = "1"
    device = "cpu" if args.miniature else "cuda"
    for step in wanted:
        left = args.limit - (time.time() - args.began)
        if done(args.out, step):
            print(f"== {step.name}: done before", flush=True)
        elif left < step.least:
            print(f"== {step.name}: left out, {max(left, 0):.0f} s are left", flush=True)
        else:
            print(f"== {step.name}", flush=True)
            ended = run(step, args.out, device, args.miniature, left)
            print("\n".join(ended.get("last_lines", ())), end="\n" if ended.get("why") else "")
    names = [step.name for step in wanted if (args.out / f"{step.name}.json").exists()]
    note_commit(args.out, names, prepared)
    lines = list(summary(args.out, wanted))
    print("\n".join(["", *lines]))
    write(args.out / "summary.json", {"steps": lines, "seconds": time.time() - args.began})
    return int(not all(done(args.out, step) for step in wanted))


if __name__ == "__main__":
    sys.exit(main())
