"""Several pairs of languages in one corpus: in pieces, tagged, and no test sentence in training.

The pairs are written one after the other as ``{train,valid,test}.{src,tgt}``, and each alone beside
that. The first piece of a source sentence is a tag that names the target language: ``<2de>``.

A sentence that the test text of any pair has is left out of the training and validation text of
every pair, on either side; one of the validation text is left out of the training text.
"""

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO

from sentencepiece import SentencePieceProcessor

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.lines import read_lines, read_pairs
from nmt_moe.common.table import markdown
from nmt_moe.corpus.multilingual.pairs import languages, tag, text_files, training_files

SPLITS = ("train", "valid", "test")
SIDES = ("src", "tgt")
Lines = tuple[str, str]


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
        with atomic_write(_paths(out, split)) as mixed:
            for pair in pairs:
                found = counts[pair][split]
                times = (largest / found.kept) ** (1 - 1 / temperature) if split == "train" else 1
                for lines in _repeated(out / pair, split, times, random.Random(f"{seed} {pair}")):
                    found.written += 1
                    _write(mixed, lines)
    return counts


_HeldOut = dict[bytes, str]


def _held_out(pairs: Mapping[str, Path]) -> _HeldOut:
    """The split of each sentence, by language, that another split must not have."""
    found: _HeldOut = {}
    for split in ("valid", "test"):  # the test text wins
        for pair, folder in pairs.items():
            for sentences in read_pairs(*text_files(folder, split, pair)):
                found |= dict.fromkeys(_keys(pair, sentences), split)
    return found


def write_training_text(pairs: Mapping[str, Path], path: Path) -> None:
    """Write the training text of all pairs, each file once, without what is held out."""
    held_out = _held_out(pairs)
    with path.open("w", encoding="utf-8", newline="\n") as out:
        for file, language in training_files(pairs).items():
            for line in read_lines(file):
                if _key(language, line) not in held_out:
                    out.write(f"{line}\n")


def _key(language: str, sentence: str) -> bytes:
    return blake2b(f"{language} {sentence}".encode(), digest_size=16).digest()


def _keys(pair: str, sentences: Sequence[str]) -> list[bytes]:
    """A hash of each side and its language; an empty side is no sentence."""
    return [
        _key(language, sentence)
        for language, sentence in zip(languages(pair), sentences, strict=True)
        if sentence
    ]


def _encode(
    pair: str,
    folder: Path,
    split: str,
    held_out: _HeldOut,
    model: SentencePieceProcessor,
    out: Path,
    max_pieces: int,
) -> Counts:
    """Write one split of one pair, in pieces and tagged."""
    counts = Counts()
    first = tag(languages(pair)[1])
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(_paths(out, split)) as files:
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
    with contextlib.ExitStack() as stack:
        sources, targets = (
            stack.enter_context(path.open(encoding="utf-8", newline="\n"))
            for path in _paths(folder, split)
        )
        yield from zip(sources, targets, strict=True)


def _paths(folder: Path, split: str) -> list[Path]:
    return [folder / f"{split}.{side}" for side in SIDES]


def _write(files: Sequence[IO[str]], lines: Lines) -> None:
    for file, line in zip(files, lines, strict=True):
        file.write(line)


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
