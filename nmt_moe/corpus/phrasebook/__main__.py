"""Command line: write the phrasebook corpus for one target language, or for pairs of languages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nmt_moe.common.errors import exit_code
from nmt_moe.common.ranges import Parser, integers
from nmt_moe.corpus.phrasebook.files import (
    TARGETS,
    check_target,
    contents,
    pair_contents,
    summary,
    write,
)
from nmt_moe.corpus.phrasebook.generate import build
from nmt_moe.corpus.phrasebook.pairs import build_pairs, expand
from nmt_moe.corpus.phrasebook.render import pairs_available


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = Parser(
        prog="python -m nmt_moe.corpus.phrasebook",
        description="Write parallel text, made on this machine. --target: English-German or "
        "English-French from sentence templates, as "
        "<out>/en-<target>/{train,valid,test}.{en,<target>,domain}. The same seed gives the same "
        "files.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    which = made.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--target", default=argparse.SUPPRESS, metavar="|".join(TARGETS),
        help="the sentences in English and this language",
    )  # fmt: skip
    which.add_argument(
        "--pairs", nargs="+", default=argparse.SUPPRESS, metavar="PAIR",
        help="pairs of languages such as en-de es-en, or a language for both directions with "
        "English; writes <out>/<pair>/{train,valid,test}.<language>, as many lines of each: "
        "sentences and labels between English, German and French, otherwise labels (dates, "
        "amounts, names and lists of them)",
    )  # fmt: skip
    made.add_argument("--out", type=Path, default=Path("data/phrasebook"), help="folder to write")
    made.add_argument("--train", type=integers(1), default=30000, help="number of training pairs")
    made.add_argument("--valid", type=integers(1), default=500, help="number of validation pairs")
    made.add_argument("--test", type=integers(1), default=1000, help="number of test pairs")
    made.add_argument("--seed", type=integers(0), default=1, help="seed of the random draws")
    return made


def run(args: argparse.Namespace) -> str:
    """Write the files that ``args`` ask for and return the summary to print."""
    if "pairs" in args:
        return run_pairs(args)
    target = check_target(args.target)
    splits = build(args.train, args.valid, args.test, args.seed)
    folder = args.out / f"en-{target}"
    write(contents(splits, target), folder)
    return f"wrote {folder}\n{summary(splits, target, pairs_available())}"


def run_pairs(args: argparse.Namespace) -> str:
    """Do the same for ``--pairs``."""
    lines = []
    for pair, splits in build_pairs(
        expand(args.pairs), args.train, args.valid, args.test, args.seed
    ):
        write(pair_contents(splits, pair), args.out / pair)
        counts = ", ".join(f"{split} {len(texts):,}" for split, texts in splits.items())
        lines.append(f"wrote {args.out / pair}: {counts} pairs")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return exit_code(lambda: print(run(parser().parse_args(argv))))


if __name__ == "__main__":
    sys.exit(main())
