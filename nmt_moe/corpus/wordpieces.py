"""Wordpieces: one sentencepiece vocabulary for all languages, and text cut into its pieces.

``train`` learns the vocabulary from training text, ``encode`` writes a parallel corpus, or text in
one language, as pieces for ``fairseq-preprocess``. The dictionary that ``train`` writes beside the
model lists every piece, also those that the training text does not use, so that no known character
becomes unknown.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sentencepiece

from nmt_moe.corpus.lines import read_lines, read_pairs
from nmt_moe.errors import UserError, exit_code

_PROGRESS = 500_000  # lines between two progress lines


def train(files: Iterable[Path], out: Path, vocabulary: int) -> int:
    """Learn a unigram model; writes ``out.model``, ``out.vocab`` and fairseq's ``out.dict.txt``.

    Returns:
        The number of pieces, fewer than asked for when the text is too small for so many.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    # Written under another name first: a model under its own name is a complete one.
    draft = out.with_name(out.name + ".draft")
    failed: list[UserError] = []
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_training_lines(files, failed),
            model_prefix=str(draft),
            model_type="unigram",
            vocab_size=vocabulary,
            hard_vocab_limit=False,
            character_coverage=1.0,
            split_digits=True,  # numbers are copied digit by digit, not learned one by one
            minloglevel=2,
        )
    except RuntimeError as error:
        if failed:
            raise failed[0] from None
        raise UserError(f"sentencepiece finds no vocabulary of {vocabulary}: {error}") from None
    model = load(draft.with_name(draft.name + ".model"))
    pieces = [
        model.id_to_piece(i)
        for i in range(model.get_piece_size())
        if not (model.is_control(i) or model.is_unknown(i))
    ]
    dictionary = "".join(f"{piece} 1\n" for piece in pieces)
    out.with_name(out.name + ".dict.txt").write_text(dictionary, encoding="utf-8")
    for suffix in (".vocab", ".model"):
        draft.with_name(draft.name + suffix).replace(out.with_name(out.name + suffix))
    return len(pieces)


def _training_lines(files: Iterable[Path], failed: list[UserError]) -> Iterator[str]:
    """All lines; an error is noted, as sentencepiece makes a RuntimeError of any exception."""
    empty = True
    try:
        for path in files:
            for line in read_lines(path):
                empty = empty and not line
                yield line
        if empty:
            raise UserError("the training text holds no words: there is no vocabulary to learn")
    except UserError as error:
        failed.append(error)
        raise


def load(path: Path) -> sentencepiece.SentencePieceProcessor:
    """Read a sentencepiece model."""
    if not path.is_file():
        raise UserError(f"no sentencepiece model {path}: make one with 'wordpieces train'")
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except RuntimeError:
        raise UserError(f"{path} is not a sentencepiece model") from None


@dataclass
class Counts:
    """What became of the pairs, or of the lines of one language."""

    read: int = 0
    kept: int = 0
    empty: int = 0
    long: int = 0


def encode(
    model: sentencepiece.SentencePieceProcessor,
    inputs: Sequence[Path],
    outputs: Sequence[Path],
    max_pieces: int,
    keep_all: bool = False,
) -> Counts:
    """Write a corpus as pieces, separated by spaces.

    Drops pairs with an empty side or with a side of more than ``max_pieces`` pieces.

    Args:
        inputs: two aligned files, or one.
        outputs: as many.
        keep_all: only count them, as a test set needs.

    Returns:
        How many pairs were read and kept, and how many are empty or longer than max_pieces.
    """
    counts = Counts()
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open("w", encoding="utf-8")) for path in outputs]
        # zip makes tuples of single lines.
        for pair in read_pairs(*inputs) if len(inputs) == 2 else zip(read_lines(inputs[0])):
            counts.read += 1
            sides = [model.encode(line, out_type=str) for line in pair]
            empty = not all(sides)
            long = max(map(len, sides)) > max_pieces
            counts.empty += empty
            counts.long += long and not empty
            if keep_all or not (empty or long):
                counts.kept += 1
                for file, side in zip(files, sides, strict=True):
                    file.write(" ".join(side) + "\n")
            if counts.read % _PROGRESS == 0:
                print(f"{inputs[0]}: {counts.read:,} lines ...", file=sys.stderr, flush=True)
    return counts


def describe(name: str, counts: Counts, max_pieces: int, pairs: bool = True) -> str:
    """One line about what encode did."""
    read = f"{name}: {counts.read:,} {'pairs' if pairs else 'lines'}"
    empty = f"{counts.empty:,} {'with an empty side' if pairs else 'empty'}"
    odd = f"{empty} and {counts.long:,} with more than {max_pieces} pieces"
    if counts.kept == counts.read:
        return f"{read}, all kept; {odd}"
    return f"{read}, {counts.kept:,} kept; dropped {odd}"


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nmt_moe.corpus.wordpieces",
        description="Learn a vocabulary of wordpieces, and cut text into them.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    learn = commands.add_parser("train", help="learn the vocabulary from training text")
    learn.add_argument("files", nargs="+", type=Path, metavar="FILE", help="text, may be .gz")
    learn.add_argument("--vocabulary", type=int, default=32_000, help="pieces (default: 32000)")
    learn.add_argument(
        "--out", type=Path, required=True, metavar="PREFIX",
        help="writes PREFIX.model, PREFIX.vocab and PREFIX.dict.txt",
    )  # fmt: skip
    cut = commands.add_parser("encode", help="write a corpus as pieces")
    cut.add_argument("--model", type=Path, required=True, help="the PREFIX.model of 'train'")
    languages = cut.add_mutually_exclusive_group(required=True)
    languages.add_argument("--langs", nargs=2, metavar=("SOURCE", "TARGET"), help="parallel text")
    languages.add_argument(
        "--lang", nargs=1, dest="langs", metavar="LANGUAGE", help="text in one language"
    )
    cut.add_argument(
        "--max-pieces", type=int, default=250,
        help="drop pairs with an empty side or with a side of more pieces (default: 250)",
    )  # fmt: skip
    cut.add_argument("--keep-all", action="store_true", help="only count them: for test sets")
    cut.add_argument("input", type=Path, metavar="INPUT", help="reads INPUT.LANG")
    cut.add_argument("output", type=Path, metavar="OUTPUT", help="writes OUTPUT.LANG")
    return parser


def _sides(prefix: Path, languages: list[str]) -> list[Path]:
    return [prefix.with_name(f"{prefix.name}.{language}") for language in languages]


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    args = _arguments().parse_args(arguments)

    def run() -> None:
        if args.command == "train":
            pieces = train(args.files, args.out, args.vocabulary)
            print(f"{args.out}.model: {pieces:,} pieces")
            return
        args.output.parent.mkdir(parents=True, exist_ok=True)
        inputs = _sides(args.input, args.langs)
        outputs = _sides(args.output, args.langs)
        counts = encode(load(args.model), inputs, outputs, args.max_pieces, args.keep_all)
        print(describe(args.input.name, counts, args.max_pieces, len(inputs) == 2))
        if not counts.kept:
            raise UserError(f"{inputs[0]}: no line is left")

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
