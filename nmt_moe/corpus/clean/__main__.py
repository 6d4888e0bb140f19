"""The command line of cleaning."""

import argparse
import sys
import time
from pathlib import Path

from nmt_moe.common.errors import UserError, exit_code
from nmt_moe.common.files import atomic_write, beside
from nmt_moe.common.ranges import Parser, integers, numbers
from nmt_moe.corpus.clean.language import foreign
from nmt_moe.corpus.clean.pipeline import Options, clean
from nmt_moe.corpus.clean.rules import CHARACTERS_BEYOND, WORDS_BEYOND, Limits
from nmt_moe.corpus.workers import cores, interruptible


def _arguments() -> argparse.ArgumentParser:
    limits = Limits()
    parser = Parser(
        prog="python -m nmt_moe.corpus.clean",
        description="Clean a parallel corpus and say what each rule changed or removed. HTML "
        "entities are decoded; special spaces and line ends inside a line become a space, "
        "control characters of Windows-1252 what they were; invisible characters are removed. "
        "Then pairs are removed that are not UTF-8, empty, long, of odd ratio, identical on both "
        "sides, or came before.",
        epilog="Drafts and hashes lie in .NAME.cleaning beside OUT until the end: twice the size "
        "of the output, and 16 bytes for each pair.",
    )
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="IN", help="reads IN.LANG or IN.LANG.gz"
    )
    parser.add_argument("--langs", nargs=2, required=True, metavar=("SOURCE", "TARGET"))
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.LANG")
    parser.add_argument("--report", type=Path, metavar="FILE", help="the counts as JSON too")
    parser.add_argument(
        "--workers", type=integers(1), default=cores(), metavar="N",
        help="processes (default: the cores, %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-words", type=integers(1), default=limits.words, metavar="N",
        help="of each side (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-characters", type=integers(1), default=limits.characters, metavar="N",
        help="of each side (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-ratio", type=numbers(1), default=limits.ratio, metavar="R",
        help=f"a side may have R times the words of the other and {WORDS_BEYOND} more, R times its "
        f"characters and {CHARACTERS_BEYOND} more (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--keep-duplicates", action="store_true", help="keep pairs that came before"
    )
    parser.add_argument(
        "--language-id", action="store_true",
        help="remove pairs with a side of 20 characters or more that is surely in another "
        "language; SOURCE and TARGET are codes such as en or pt_BR (needs py3langid)",
    )  # fmt: skip
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run it."""

    def run() -> None:
        args = _arguments().parse_args(arguments)
        start = time.monotonic()
        if args.langs[0] == args.langs[1]:
            raise UserError(f"--langs names the language '{args.langs[0]}' twice")
        options = Options(
            Limits(args.max_words, args.max_characters, args.max_ratio),
            foreign(args.langs) if args.language_id else None,
            args.keep_duplicates,
            args.workers,
        )
        if args.report:
            args.report.parent.mkdir(parents=True, exist_ok=True)
        with interruptible():
            report = clean(args.inputs, args.out, args.langs, options)
        where = beside(args.report)
        print("\n".join(report.lines()), file=where)
        seconds = time.monotonic() - start
        speed = report.read.total() / seconds * 60 / args.workers
        print(f"\n{args.out}: {seconds:.1f} s,", file=where, end=" ")
        print(f"{speed:,.0f} pairs per minute and process", file=where)
        if args.report:
            with atomic_write([args.report]) as [file]:
                file.write(report.as_json())

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
