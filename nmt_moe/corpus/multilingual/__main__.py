"""``python -m nmt_moe.corpus.multilingual``: learn wordpieces of many languages, mix their text."""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nmt_moe.common.errors import exit_code
from nmt_moe.common.files import atomic_write
from nmt_moe.common.ranges import Parser, integers, numbers
from nmt_moe.common.table import markdown
from nmt_moe.corpus.multilingual.mix import Counts, mix, write_training_text
from nmt_moe.corpus.multilingual.pairs import languages, parse_pairs, tag
from nmt_moe.corpus.phrasebook.pairs import expand
from nmt_moe.corpus.wordpieces import model as wordpieces


def add_tags(dictionary: Path, targets: Sequence[str]) -> None:
    """Add the tags of these languages to a dictionary of fairseq, where they are missing."""
    text = dictionary.read_text(encoding="utf-8")
    known = {line.rpartition(" ")[0] for line in text.split("\n")}
    tags = dict.fromkeys(tag(target) for target in targets)
    text += "".join(f"{name} 1\n" for name in tags if name not in known)
    with atomic_write([dictionary]) as [file]:
        file.write(text)


def describe(counts: Mapping[str, Mapping[str, Counts]], max_pieces: int) -> Iterator[str]:
    """The lines of a table about what :func:`mix` did."""
    columns = ("read", "held out", "empty or long", "kept", "mixed")
    rows = [
        [pair, split, *(f"{n:,}" for n in (c.read, c.held_out, c.odd, c.kept, c.written))]
        for pair, splits in counts.items()
        for split, c in splits.items()
    ]
    yield from markdown(["pair", "split", *columns], rows)
    yield (
        "held out: a side is in the test text of some pair, or, of training text, in its "
        f"validation text; long: more than {max_pieces:,} pieces"
    )


def _arguments() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m nmt_moe.corpus.multilingual",
        description="Put several pairs of languages together, for one model.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    asked = commands.add_parser(
        "pairs", help="print the pairs of the phrasebook that words ask for"
    )
    asked.add_argument(
        "words", nargs="+", metavar="WORD", help="a pair such as en-de, or de for en-de and de-en"
    )
    learnt = commands.add_parser("learn", help="learn the wordpieces of all languages")
    learnt.add_argument(
        "--vocabulary", type=wordpieces.VOCABULARY, default=32_000,
        help="pieces to learn, beside 10 digits and 256 bytes, which spell all other characters "
        "(default: 32000)",
    )  # fmt: skip
    learnt.add_argument(
        "--out", type=Path, required=True, metavar="PREFIX",
        help="writes PREFIX.model, PREFIX.vocab and PREFIX.dict.txt",
    )  # fmt: skip
    mixed = commands.add_parser(
        "mix", help="write the pairs as pieces, each source with a tag such as <2de> first"
    )
    for command in (learnt, mixed):
        command.add_argument(
            "pairs", nargs="+", metavar="PAIR=FOLDER",
            help="such as en-de=data/en-de, with {train,valid,test}.{en,de} in it, plain or .gz",
        )  # fmt: skip
    mixed.add_argument(
        "--model", type=Path, required=True, metavar="PREFIX.model",
        help="sentencepiece model of all languages; the tags are added to PREFIX.dict.txt",
    )  # fmt: skip
    mixed.add_argument(
        "--out", type=Path, required=True, help="folder for {train,valid,test}.{src,tgt}"
    )
    mixed.add_argument(
        "--max-pieces", type=integers(1), default=250,
        help="leave out pairs with an empty side or with a side of more pieces (default: 250)",
    )  # fmt: skip
    mixed.add_argument(
        "--temperature", type=numbers(1), default=1.0, metavar="T",
        help="repeat lines of smaller pairs: n lines of training become N * (n / N) ** (1 / T), "
        "N are the largest pair's; 1 repeats none (default: 1)",
    )  # fmt: skip
    mixed.add_argument(
        "--seed", type=integers(0), default=1, help="of the choice of lines to repeat"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command line."""

    def run() -> None:
        args = _arguments().parse_args(arguments)
        if args.command == "pairs":
            print(" ".join(expand(args.words)))
            return
        pairs = parse_pairs(args.pairs)
        if args.command == "learn":
            args.out.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=args.out.parent) as folder:
                text = Path(folder) / "train"
                write_training_text(pairs, text)
                learned = wordpieces.train([text], args.out, args.vocabulary)
            print(f"{args.out}.model: {learned.pieces:,} pieces of all languages")
            return
        model = wordpieces.load(args.model)
        counts = mix(pairs, model, args.out, args.max_pieces, args.temperature, args.seed)
        add_tags(args.model.with_suffix(".dict.txt"), [languages(pair)[1] for pair in pairs])
        print("\n".join(describe(counts, args.max_pieces)))

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
