"""Fuzz targets, one after the other, each in a process of its own.

``python -m tests.reliability.fuzz [TARGET ...] [--runs N] [--folder FOLDER]``: FOLDER keeps the
inputs that reached new code, for a later run, and those that made a target fail.
"""

import argparse
import os
import sys
from pathlib import Path

import atheris

LONGEST = 5_000  # bytes of an input; those of the list may be longer where they are replayed
# Code is instrumented when it is imported.
READERS = [
    "nmt_moe.corpus",
    "nmt_moe.trained.text",
    "nmt_moe.translate",
    "sentence_splitter",
    "html",
    "tarfile",
]
with atheris.instrument_imports(include=[*READERS, "tests.reliability.fuzz.planted"]):
    from tests.reliability.fuzz.inputs import INPUTS
    from tests.reliability.fuzz.planted import planted
    from tests.reliability.fuzz.targets import TARGETS


def fuzz(name: str, folder: Path, options: list[str]) -> int:
    """The exit code of one target's process."""
    seeds = folder / name
    seeds.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(INPUTS.values()):
        (seeds / f"input-{number}").write_bytes(content)
    print(f"== {name}", flush=True)
    child = os.fork()
    if child == 0:
        target = (TARGETS | {"planted": planted})[name]
        failed = f"-artifact_prefix={folder / f'{name}-'}"
        atheris.Setup(["fuzz", failed, *options, str(seeds)], target)
        atheris.Fuzz()  # ends the process
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> int:
    """1 where a target failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.fuzz")
    known = TARGETS | {"planted": planted}
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(known)}")
    parser.add_argument("--runs", type=int, default=100_000, help="inputs for each target")
    parser.add_argument("--seed", type=int, default=0, help="of the changes; 0 for a new one")
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    if not {*args.targets} <= {*known}:
        parser.error(f"choose of {', '.join(known)}")
    options = [
        *(f"-runs={args.runs}", f"-seed={args.seed}", f"-max_len={LONGEST}"),
        *("-timeout=60", "-rss_limit_mb=4000", "-verbosity=0", "-print_final_stats=1"),
    ]
    codes = {name: fuzz(name, args.folder, options) for name in args.targets or TARGETS}
    for name, code in codes.items():
        if code:
            for path in args.folder.glob(f"{name}-*"):
                print(f"{name} fails, see above, for the input {path.read_bytes()[:2000]!r}")
    return int(any(codes.values()))


if __name__ == "__main__":
    sys.exit(main())
