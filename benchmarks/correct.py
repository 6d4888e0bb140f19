"""Run tests of the kernels on the device, and write which of them passed.

python benchmarks/correct.py tests/kernels/test_gpu*.py -k products
"""

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import torch
from harness import parser, report, start

ROOT = Path(__file__).resolve().parents[1]
NO_TESTS = 5
"""What pytest ends with where none matches."""


def main() -> None:
    """The command line."""
    command = parser(__doc__)
    command.add_argument("files", nargs="*", help="of tests")
    command.add_argument("-k", dest="match", default="", help="as pytest's")
    args = command.parse_args()
    start(args)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("error: torch finds no GPU")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "tests.xml")
        tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
        tests += [*args.files, "-k", args.match, "--junitxml", str(out)]
        code = subprocess.run(tests, cwd=ROOT).returncode if args.files else NO_TESTS
        found = list(ElementTree.parse(out).iter("testcase")) if out.exists() else []
    ended: dict[str, Counter[str]] = {}
    failed: dict[str, str] = {}
    seconds: Counter[str] = Counter()
    for test in found:
        kinds = {child.tag: child for child in test}
        kind = next((k for k in ("failure", "error", "skipped") if k in kinds), "passed")
        file = test.get("classname", "").rpartition(".")[2]
        ended.setdefault(file, Counter())[kind] += 1
        seconds[file] += float(test.get("time", 0))
        if kind in ("failure", "error"):
            failed[f"{file}::{test.get('name')}"] = kinds[kind].get("message", "")[:500]
    heads = ["tests", "passed", "skipped", "failed", "seconds"]
    rows = [
        [file, *(str(n) for n in (c["passed"], c["skipped"], c["failure"] + c["error"]))]
        + [f"{seconds[file]:.0f}"]
        for file, c in ended.items()
    ]
    notes = ["no test matches: nothing was checked"] if code == NO_TESTS else []
    report("Tests of kernels", heads, rows, {"failed": failed}, args, notes)
    if code not in (0, NO_TESTS):
        raise SystemExit(f"error: {len(failed)} of {len(found)} tests failed, or pytest did")


if __name__ == "__main__":
    main()
