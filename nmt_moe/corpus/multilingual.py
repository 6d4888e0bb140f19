"""Several pairs of languages as one corpus, for one model that translates them all.

``learn`` makes the wordpieces of all languages together. ``mix`` cuts the pairs into them and
writes one pair after the other as ``{train,valid,test}.{src,tgt}``, and each pair alone beside
them. The first piece of a source sentence is a tag that names the target language: ``<2de>``.

A sentence that the test text of any pair has is left out of the training and validation text of
every pair, on either side; one of the validation text is left out of the training text.
"""

import argparse
import contextlib
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TextIO, cast

from sentencepiece import SentencePieceProcessor

from nmt_moe.corpus import wordpieces
from nmt_moe.corpus.lines import read_pairs
from nmt_moe.corpus.phrasebook.pairs import expand
from nmt_moe.errors import UserError, exit_code
from nmt_moe.report.table import markdown

SPLITS = ("train", "valid", "test")
SIDES = ("src", "tgt")
Lines = tuple[str, str]


def tag(language: str) -> str:
    """The source piece that asks for a translation into a language."""
    return f"<2{language}>"


def languages(pair: str) -> tuple[str, str]:
    """Source and target of a pair such as ``en-de``.

    Raises:
        UserError: that is no pair of two languages.
    """
    source, _, target = pair.partition("-")
    if not (source and target) or source == target or not f"{source}{target}".isidentifier():
        raise UserError(f"{pair!r} is not a pair of languages such as en-de")
    return source, target


def text_files(folder: Path, split: str, pair: str) -> tuple[Path, Path]:
    """The two files of a split: ``folder/train.en`` and ``folder/train.de``, or such with .gz.

    Raises:
        UserError: one is missing.
    """
    source, target = (_find(folder / f"{split}.{language}") for language in languages(pair))
    return source, target


def _find(path: Path) -> Path:
    for found in (path, path.with_name(f"{path.name}.gz")):
        if found.is_file():
            return found
    raise UserError(f"there is no {path} and no {path.name}.gz: a pair needs all of its splits")


def training_text(pairs: Mapping[str, Path]) -> list[Path]:
    """The training files of all pairs, each once."""
    files = (text_files(folder, "train", pair) for pair, folder in pairs.items())
    return list(dict.fromkeys(path for sides in files for path in sides))


@dataclass
class Counts:
    """What became of the lines of a split of a pair."""

    read: int = 0
    kept: int = 0
    held_out: int = 0
    odd: int = 0
    written: int = 0
    """Lines in the mixed file, repeats included."""


def mix(
    pairs: Mapping[str, Path],
    model: SentencePieceProcessor,
    out: Path,
    max_pieces: int,
    temperature: float,
    seed: int,
) -> dict[str, dict[str, Counts]]:
    """Write ``out/{train,valid,test}.{src,tgt}`` and the same in ``out/PAIR``, in pieces.

    Args:
        pairs: the folder of each pair's text, see :func:`text_files`.
        model: the wordpieces of all languages.
        out: where they go.
        max_pieces: longer pairs are left out, tags not counted; the test text keeps all.
        temperature: with 1, the training text is as it is; with more, lines of smaller pairs are
            repeated, until a pair of ``n`` lines has ``N * (n / N) ** (1 / temperature)``, where
            ``N`` are the largest pair's.
        seed: of the choice of the lines that are repeated once more than the others.

    Returns:
        By pair and split, what became of the lines.

    Raises:
        UserError: a file that is missing or not aligned, or no line is left of a split.
    """
    held_out = _held_out(pairs)
    counts = {
        pair: {
            split: _encode(pair, folder, split, held_out, model, out / pair, max_pieces)
            for split in SPLITS
        }
        for pair, folder in pairs.items()
    }
    largest = max(found["train"].kept for found in counts.values())
    for split in SPLITS:
        with _open(out, split, "w") as mixed:
            for pair in pairs:
                found = counts[pair][split]
                times = (largest / found.kept) ** (1 - 1 / temperature) if split == "train" else 1
                for lines in _repeated(out / pair, split, times, random.Random(f"{seed} {pair}")):
                    found.written += 1
                    _write(mixed, lines)
    return counts


_Held = dict[bytes, str]


def _held_out(pairs: Mapping[str, Path]) -> _Held:
    """The split of each sentence, by language, that another split must not have."""
    found: _Held = {}
    for split in ("valid", "test"):  # the test text wins
        for pair, folder in pairs.items():
            for sentences in read_pairs(*text_files(folder, split, pair)):
                found |= dict.fromkeys(_keys(pair, sentences), split)
    return found


def _keys(pair: str, sentences: Sequence[str]) -> list[bytes]:
    """A hash of each side and its language; an empty side is no sentence."""
    return [
        blake2b(f"{language} {sentence}".encode(), digest_size=16).digest()
        for language, sentence in zip(languages(pair), sentences, strict=True)
        if sentence
    ]


def _encode(
    pair: str,
    folder: Path,
    split: str,
    held_out: _Held,
    model: SentencePieceProcessor,
    out: Path,
    max_pieces: int,
) -> Counts:
    """Write one split of one pair, in pieces and tagged."""
    counts = Counts()
    first = tag(languages(pair)[1])
    out.mkdir(parents=True, exist_ok=True)
    with _open(out, split, "w") as files:
        for sentences in read_pairs(*text_files(folder, split, pair)):
            counts.read += 1
            source, target = (model.encode(sentence, out_type=str) for sentence in sentences)
            if split != "test":
                if any(held_out.get(key, split) != split for key in _keys(pair, sentences)):
                    counts.held_out += 1
                    continue
                if not (source and target) or max(len(source), len(target)) > max_pieces:
                    counts.odd += 1
                    continue
            counts.kept += 1
            _write(files, (" ".join([first, *source]) + "\n", " ".join(target) + "\n"))
    if not counts.kept:
        raise UserError(f"{folder}: no line of {split} text is left for {pair}")
    return counts


def _repeated(folder: Path, split: str, times: float, rng: random.Random) -> Iterator[Lines]:
    """The lines of a split, each ``times`` times on average, by whole passes over the files."""
    whole = int(times)
    for _ in range(whole):
        yield from _lines(folder, split)
    if times > whole:
        yield from (lines for lines in _lines(folder, split) if rng.random() < times - whole)


def _lines(folder: Path, split: str) -> Iterator[Lines]:
    with _open(folder, split, "r") as (sources, targets):
        yield from zip(sources, targets, strict=True)


@contextlib.contextmanager
def _open(folder: Path, split: str, mode: str) -> Iterator[list[TextIO]]:
    paths = [folder / f"{split}.{side}" for side in SIDES]
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(cast(TextIO, path.open(mode, encoding="utf-8", newline="\n")))
            for path in paths
        ]


def _write(files: Sequence[TextIO], lines: Lines) -> None:
    for file, line in zip(files, lines, strict=True):
        file.write(line)


def add_tags(dictionary: Path, targets: Sequence[str]) -> None:
    """Add the tags of these languages to a dictionary of fairseq, where they are missing."""
    text = dictionary.read_text(encoding="utf-8")
    known = {line.rpartition(" ")[0] for line in text.split("\n")}
    tags = dict.fromkeys(tag(target) for target in targets)
    text += "".join(f"{name} 1\n" for name in tags if name not in known)
    dictionary.write_text(text, encoding="utf-8")


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


def parse_pairs(texts: Sequence[str]) -> dict[str, Path]:
    """The folder of each pair, from texts such as ``en-de=FOLDER``.

    Raises:
        UserError: another text, or a pair that is given twice.
    """
    pairs: dict[str, Path] = {}
    for text in texts:
        pair, equals, folder = text.partition("=")
        if not (equals and folder):
            raise UserError(f"{text!r} is not PAIR=FOLDER, such as en-de=data/en-de")
        languages(pair)
        if pair in pairs:
            raise UserError(f"{pair} is given twice: put its text into one folder")
        pairs[pair] = Path(folder)
    return pairs


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    learnt.add_argument("--vocabulary", type=int, default=32_000, help="pieces (default: 32000)")
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
        "--max-pieces", type=int, default=250,
        help="leave out pairs with an empty side or with a side of more pieces (default: 250)",
    )  # fmt: skip
    mixed.add_argument(
        "--temperature", type=float, default=1.0, metavar="T",
        help="repeat lines of smaller pairs: n lines of training become N * (n / N) ** (1 / T), "
        "N are the largest pair's; 1 repeats none (default: 1)",
    )  # fmt: skip
    mixed.add_argument("--seed", type=int, default=1, help="of the choice of lines to repeat")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    args = _arguments().parse_args(arguments)

    def run() -> None:
        if args.command == "pairs":
            print(" ".join(expand(args.words)))
            return
        pairs = parse_pairs(args.pairs)
        if args.command == "learn":
            learned = wordpieces.train(training_text(pairs), args.out, args.vocabulary)
            print(f"{args.out}.model: {learned.pieces:,} pieces of all languages")
            return
        if not args.temperature >= 1:
            raise UserError(f"--temperature must be at least 1, not {args.temperature}")
        model = wordpieces.load(args.model)
        counts = mix(pairs, model, args.out, args.max_pieces, args.temperature, args.seed)
        add_tags(args.model.with_suffix(".dict.txt"), [languages(pair)[1] for pair in pairs])
        print("\n".join(describe(counts, args.max_pieces)))

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
