"""Make the folder that gpu.sh needs where there is no network: wheels, an earlier commit, text.

    python benchmarks/gpu_prepare.py --text data/multi30k-de --has pip-list.txt PREPARED

Wheels are those that the benchmarks need beside torch for CUDA and what comes with it, in the
versions and with the checksums of requirements/, for another Python if need be. --has names a file
with what the machine has already, as `pip list` prints it there. --text is the run folder of a
recipe, or one of fairseq-preprocess. A folder above --most MiB is refused.
"""

import argparse
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from gpu import ROOT, checksum
from gpu_install import SUMS
from packaging.requirements import Requirement

BEFORE = "6486221"
"""The last commit before the kernels that gpu.sh measures."""
REQUIREMENTS = ("wheels.txt", "sources.txt")
NEEDED = ("nmt-moe", "pytest", "pytest-timeout", "hypothesis")
UNUSED = {"matplotlib", "plotly", "babel", "num2words", "sentence-splitter"}
UNUSED |= {"cython", "torch", "torchaudio", "nmt-moe"}
"""Needed to train and translate only, or what the machine must have."""
BUILT = ("antlr4-python3-runtime", "docopt")
"""Have no wheels, and nothing to compile."""
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux1")


def named(text: str) -> str:
    """A package's name as all spell it."""
    return re.sub(r"[-_.]+", "-", text).lower()


def needed(has: set[str], python: str) -> set[str]:
    """The packages that are wanted and those that they need, as this environment has them."""
    found, left = set(), [*NEEDED]
    while left:
        name = named(left.pop())
        if name in found or name in has or (name in UNUSED and name != "nmt-moe"):
            continue
        found.add(name)
        for wanted in map(Requirement, importlib.metadata.requires(name) or ()):
            if not wanted.marker or wanted.marker.evaluate({"python_version": python, "extra": ""}):
                left.append(wanted.name)
    return found - UNUSED


def locked(names: set[str]) -> dict[str, str]:
    """Of each the lines in requirements/, its version and checksums."""
    found = {}
    for file in REQUIREMENTS:
        text = (ROOT / "requirements" / file).read_text()
        for block in re.findall(r"^[^\s#].*(?:\n +--hash.*)+", text, re.MULTILINE):
            name = named(block.partition("==")[0])
            if name in names:
                found[name] = re.sub(r"==(\S+) *;.*?\\\n", r"==\1 \\\n", block)
    return found


def fetch_wheels(names: set[str], python: str, wheels: Path) -> None:
    """Download them, or build those without any.

    Raises:
        SystemExit: pip fails.
    """
    lines = locked(names)
    if missing := names - set(lines):
        print(f"not in requirements/, left out: {', '.join(sorted(missing))}", file=sys.stderr)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    version = python.replace(".", "")
    elsewhere = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    elsewhere += ["--abi", f"cp{version}", "--abi", "abi3", "--abi", "none"]
    elsewhere += [word for p in PLATFORMS for word in ("--platform", f"{p}_x86_64")]
    elsewhere += ["--platform", "any"]
    for what, options, wanted in (
        ("download", [*elsewhere, "-d", str(wheels)], set(lines) - {*BUILT}),
        ("wheel", ["--no-build-isolation", "-w", str(wheels)], set(lines) & {*BUILT}),
    ):
        asked = wheels.parent / "asked.txt"
        asked.write_text("\n".join(lines[name] for name in sorted(wanted)) + "\n")
        more = ["--no-deps", "--require-hashes", "-r", str(asked), *options]
        if wanted and subprocess.run([*pip, what, *more]).returncode:
            raise SystemExit("error: pip has failed, see above")
        asked.unlink()


def copy_text(text: Path, to: Path) -> None:
    """Of a run folder or one of fairseq-preprocess: dictionaries, training and validation text, and
    the sentencepiece model if there is one.

    Raises:
        SystemExit: it is neither.
    """
    found = sorted(text.rglob("dict.*.txt"))
    data = found[0].parent if found else text
    files = [*data.glob("dict.*.txt"), *data.glob("train.*-*"), *data.glob("valid.*-*")]
    if len(found) < 2 or not list(data.glob("train.*.bin")):
        raise SystemExit(f"error: {text} has no text of fairseq-preprocess: name a run folder")
    to.mkdir()
    for path in [*files, *text.rglob("sentencepiece*.model")]:
        shutil.copy(path, to / path.name)


def git(*words: str) -> str:
    """What git says of this repository."""
    found = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(f"error: git {words[0]}: {found.stderr.strip()}")
    return found.stdout.strip()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prepared", type=Path, help="the folder to make")
    parser.add_argument("--text", type=Path, help="a run folder, or one of fairseq-preprocess")
    parser.add_argument("--before", default=BEFORE, help=f"a commit (default: {BEFORE})")
    parser.add_argument("--python", default="3.12", help="of the machine (default: 3.12)")
    parser.add_argument("--has", type=Path, help="what the machine has, as pip list prints it")
    parser.add_argument("--without-wheels", action="store_true", help="the machine has them all")
    parser.add_argument("--most", type=float, default=60, help="MiB (default: 60)")
    args = parser.parse_args()
    if args.prepared.exists():
        raise SystemExit(f"error: {args.prepared} exists: name a new folder")
    (args.prepared / "wheels").mkdir(parents=True)
    before = f"{args.before}.tar.gz"
    git("archive", "--output", str((args.prepared / before).resolve()), args.before)
    if args.text:
        copy_text(args.text, args.prepared / "text")
    if not args.without_wheels:
        lines = args.has.read_text().splitlines() if args.has else []
        has = {named(re.split(r"[\s=,]", line.strip())[0]) for line in lines if line.strip()}
        fetch_wheels(needed(has, args.python), args.python, args.prepared / "wheels")
    about = {"commit": git("describe", "--always", "--dirty=+"), "checksum": checksum(ROOT)}
    (args.prepared / "prepared.json").write_text(json.dumps(about | {"before": before}) + "\n")
    files = sorted(path for path in args.prepared.rglob("*") if path.is_file())
    sums = [f"{sha256(f.read_bytes()).hexdigest()}  {f.relative_to(args.prepared)}" for f in files]
    (args.prepared / SUMS).write_text("\n".join(sums) + "\n")
    sizes = {path: path.stat().st_size / 2**20 for path in files}
    total = sum(sizes.values())
    print(f"{args.prepared}: {len(files)} files, {total:.1f} MiB")
    if total > args.most:
        large = sorted(sizes.items(), key=lambda item: -item[1])[:8]
        shown = "\n".join(f"  {size:5.1f} MiB  {path.name}" for path, size in large)
        shutil.rmtree(args.prepared)
        raise SystemExit(
            f"error: more than {args.most:.0f} MiB, and removed. The largest files:\n{shown}\n"
            "Name what the machine has already with --has, or smaller text"
        )


if __name__ == "__main__":
    main()
