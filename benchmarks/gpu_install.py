"""Install the wheels of a prepared folder that this Python lacks; for gpu.sh, by nothing but pip.

Packages that are there stay as they are, whatever their version: an image with torch for CUDA has
chosen them together.
"""

import argparse
import hashlib
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

SUMS = "SHA256SUMS"


def check(prepared: Path) -> None:
    """Compare all files with their checksums.

    Raises:
        SystemExit: the folder is none that was prepared, or a file is missing or has changed.
    """
    if not (prepared / SUMS).is_file():
        raise SystemExit(f"error: {prepared} has no {SUMS}: make it with benchmarks/gpu_prepare.py")
    for line in (prepared / SUMS).read_text().splitlines():
        wanted, name = line.split(maxsplit=1)
        path = prepared / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            raise SystemExit(f"error: {path} is missing or damaged: copy the folder again")


def missing(wheels: list[Path]) -> list[Path]:
    """Those whose package this Python has in no version."""

    def name(text: str) -> str:
        return re.sub(r"[-_.]+", "-", text).lower()

    there = {name(found.metadata["Name"]) for found in importlib.metadata.distributions()}
    return [wheel for wheel in wheels if name(wheel.name.partition("-")[0]) not in there]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("site", type=Path, help="for PYTHONPATH")
    args = parser.parse_args()
    check(args.prepared)
    sys.path.append(str(args.site))  # of a run before
    wheels = missing(sorted(args.prepared.glob("wheels/*.whl")))
    if wheels:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
        pip += ["--no-compile", "--disable-pip-version-check", "--target", str(args.site)]
        if subprocess.run([*pip, *map(str, wheels)]).returncode:
            raise SystemExit("error: pip has failed, see above")
    print(f"installed {len(wheels)} packages")


if __name__ == "__main__":
    main()
