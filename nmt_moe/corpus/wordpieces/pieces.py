"""Cutting text into wordpieces, for ``fairseq-preprocess``."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sentencepiece

from nmt_moe.common.files import atomic_write, check_no_input
from nmt_moe.common.lines import read_lines, read_pairs
from nmt_moe.common.progress import Progress
from nmt_moe.corpus.clean.report import Tally
from nmt_moe.corpus.clean.rules import normalise
from nmt_moe.corpus.workers import ordered_map

_CHUNK = 1000  # pairs that a worker takes at once


@dataclass(frozen=True)
class Limits:
    """The limits of a pair: the pieces of each side, and the ratio of the longer side to the
    shorter."""

    pieces: int = 250
    ratio: float | None = None


@dataclass
class Counts:
    """Counts of pairs, or of lines of one language; each is counted under the first rule that drops
    it."""

    read: int = 0
    kept: int = 0
    rules: Tally = field(default_factory=Tally)
    """The pairs ``empty``, ``long`` and ``odd``, with examples."""

    def add(self, other: "Counts") -> None:
        """Add the counts of the pairs that follow."""
        self.read += other.read
        self.kept += other.kept
        self.rules.add(other.rules)


def encode(
    model: sentencepiece.SentencePieceProcessor,
    inputs: Sequence[Path],
    outputs: Sequence[Path],
    limits: Limits,
    keep_all: bool = False,
    workers: int = 1,
    clean_source: bool = False,
) -> Counts:
    """Write a corpus as pieces, separated by spaces.

    Pairs with an empty side or beyond the limits are dropped. Outputs are written atomically.

    Args:
        inputs: two aligned files, or one.
        outputs: as many.
        keep_all: count these pairs but keep them, as a test set needs.
        workers: processes; the output does not depend on their number.
        clean_source: normalise the characters of the first side as cleaning does.

    Returns:
        How many pairs were read and kept, and how many are empty or beyond each limit.

    Raises:
        UserError: an input is missing, damaged, not aligned, or an output as well.
    """
    check_no_input(outputs, inputs, "OUTPUT")
    counts = Counts()
    # zip makes tuples of single lines.
    lines: Iterator[tuple[str, ...]] = (
        read_pairs(*inputs) if len(inputs) == 2 else zip(read_lines(inputs[0]))
    )

    if clean_source:
        lines = ((normalise(first)[0], *others) for first, *others in lines)

    def cut(chunk: tuple[int, list[tuple[str, ...]]]) -> tuple[Counts, list[bytes]]:
        return _cut(model, *chunk, limits, keep_all)

    done = ordered_map(cut, _chunks(lines), workers)
    progress = Progress(str(inputs[0]), "lines")
    with progress, atomic_write(outputs, "wb") as files, contextlib.closing(done):
        for part, texts in done:
            counts.add(part)
            for file, text in zip(files, texts, strict=True):
                file.write(text)
            progress.add(part.read)
    return counts


def _chunks(pairs: Iterator[tuple[str, ...]]) -> Iterator[tuple[int, list[tuple[str, ...]]]]:
    """Some pairs at a time, with the number of their first line."""
    for first in itertools.count(1, _CHUNK):
        chunk = list(itertools.islice(pairs, _CHUNK))
        if not chunk:
            return
        yield first, chunk


def _cut(
    model: sentencepiece.SentencePieceProcessor,
    first: int,
    pairs: list[tuple[str, ...]],
    limits: Limits,
    keep_all: bool,
) -> tuple[Counts, list[bytes]]:
    """The counts of some pairs, and the text of each side."""
    counts = Counts(read=len(pairs))
    kept: list[list[str]] = [[] for _ in pairs[0]]
    encoded = [
        model.encode(list(lines), out_type=str, num_threads=1) for lines in zip(*pairs, strict=True)
    ]
    for number, (texts, *sides) in enumerate(zip(pairs, *encoded, strict=True), start=first):
        less, more = min(map(len, sides)), max(map(len, sides))
        empty = less == 0
        long = not empty and more > limits.pieces
        odd = not (empty or long) and limits.ratio is not None and more > limits.ratio * less
        for rule, met in {"empty": empty, "long": long, "odd": odd}.items():
            if met:
                counts.rules.note(rule, f"line {number:,}", texts[0], texts[-1])
        if keep_all or not (empty or long or odd):
            counts.kept += 1
            for lines, side in zip(kept, sides, strict=True):
                lines.append(" ".join(side) + "\n")
    return counts, ["".join(lines).encode() for lines in kept]


def describe(name: str, counts: Counts, limits: Limits, languages: Sequence[str]) -> Iterator[str]:
    """A line with the counts of encode, and examples of the pairs that were dropped."""
    pairs = len(languages) == 2
    read = f"{name}: {counts.read:,} {'pairs' if pairs else 'lines'}"
    rules = {
        "empty": "with an empty side" if pairs else "empty",
        "long": f"with more than {limits.pieces} pieces",
    }
    if limits.ratio is not None:
        rules["odd"] = f"with a ratio above {limits.ratio:g}"
    *most, last = [f"{counts.rules.counts[rule]:,} {what}" for rule, what in rules.items()]
    dropped = f"{', '.join(most)} and {last}"
    if counts.kept == counts.read:
        yield f"{read}, all kept; {dropped}"
        return
    yield f"{read}, {counts.kept:,} kept; dropped {dropped}"
    if pairs:
        for rule, what in rules.items():
            yield from counts.rules.describe(rule, what, languages)
