"""Command line: write the phrasebook corpus for one target language."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nmt_moe.corpus.phrasebook.files import TARGETS, check_target, contents, summary, write
from nmt_moe.corpus.phrasebook.generate import build
from nmt_moe.corpus.phrasebook.render import pairs_available
from nmt_moe.errors import exit_code


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m nmt_moe.corpus.phrasebook",
        description="Write parallel English-German or English-French text, made on this machine "
        "from sentence templates, as <out>/en-<target>/{train,valid,test}.{en,<target>,domain}. "
        "The same seed gives the same files.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument(
        "--target", required=True, default=argparse.SUPPRESS, metavar="|".join(TARGETS),
        help="target language",
    )  # fmt: skip
    made.add_argument("--out", type=Path, default=Path("data/phrasebook"), help="folder to write")
    made.add_argument("--train", type=int, default=30000, help="number of training pairs")
    made.add_argument("--valid", type=int, default=500, help="number of validation pairs")
    made.add_argument("--test", type=int, default=1000, help="number of test pairs")
    made.add_argument("--seed", type=int, default=1, help="seed of the random draws")
    return made


def run(args: argparse.Namespace) -> str:
    """Write the files that ``args`` ask for and return the summary to print."""
    check_target(args.target)
    splits = build(args.train, args.valid, args.test, args.seed)
    folder = args.out / f"en-{args.target}"
    write(contents(splits, args.target), folder)
    return f"wrote {folder}\n{summary(splits, args.target, pairs_available())}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = parser().parse_args(argv)
    return exit_code(lambda: print(run(args)))


if __name__ == "__main__":
    sys.exit(main())
