"""The size of a corpus of wordpieces, and the share of pieces that its dictionary lacks."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nmt_moe.common.errors import UserError, visible
from nmt_moe.common.lines import read_lines
from nmt_moe.common.progress import Progress
from nmt_moe.common.table import markdown
from nmt_moe.corpus.wordpieces.reversible import WORD, spelled

_PROGRESS = 1000  # lines, after which the progress is shown if it is time
_MISSING = 1000  # different unknown pieces of a file that are counted one by one


@dataclass
class Size:
    """The size of a file of pieces."""

    lines: int = 0
    words: int = 0
    pieces: int = 0
    unknown: int = 0  # pieces that are not in the dictionary
    missing: Counter[str] = field(default_factory=Counter)  # each of these
    spelled: Counter[str] = field(default_factory=Counter)  # characters spelled in bytes


def read_dictionary(path: Path) -> set[str]:
    """The pieces of a fairseq dictionary.

    Raises:
        UserError: a line is not a piece with its count.
    """
    known = set()
    for number, line in enumerate(read_lines(path), start=1):
        piece, _, occurrences = line.partition(" ")
        if not occurrences.partition(" ")[0].isdecimal():
            raise UserError(f"{path}, line {number}: not a dictionary, which has 'piece count'")
        known.add(piece)
    return known


def find(path: Path) -> list[Path]:
    """The file, or all files ``PREFIX.LANGUAGE``.

    Raises:
        UserError: there is no such file.
    """
    if path.is_file():
        return [path]
    name = re.compile(rf"{re.escape(path.name)}\.[A-Za-z][A-Za-z_-]*")
    found = path.parent.iterdir() if path.parent.is_dir() else ()
    files = sorted(file for file in found if name.fullmatch(file.name))
    if not files:
        raise UserError(f"there is neither a file {path} nor one of {path}.LANGUAGE")
    return files


def measure(path: Path, known: set[str]) -> Size:
    """Measure a file of pieces."""
    size = Size()
    bytewise = "<0x00>" in known
    with Progress(str(path), "lines") as progress:
        for line in read_lines(path):
            pieces = line.split(" ") if line else []
            size.lines += 1
            size.pieces += len(pieces)
            size.words += line.count(" " + WORD) + line.startswith(WORD)
            unknown = len(pieces) - sum(map(known.__contains__, pieces))
            if unknown:
                size.unknown += unknown
                for piece in pieces:
                    if piece not in known and (
                        piece in size.missing or len(size.missing) < _MISSING
                    ):
                        size.missing[piece] += 1
            if bytewise and "<0x" in line:
                size.spelled.update(spelled(line))
            if size.lines % _PROGRESS == 0:
                progress.add(_PROGRESS)
    return size


def count(dictionary: Path, paths: Iterable[Path]) -> Iterator[str]:
    """The lines of a table with the size of each file."""
    known = read_dictionary(dictionary)
    files = [file for path in paths for file in find(path)]
    sizes = {file: measure(file, known) for file in files}
    rows = [
        (
            str(file),
            *(f"{number:,}" for number in (size.lines, size.words, size.pieces)),
            f"{size.pieces / max(size.words, 1):.2f}",
            f"{size.unknown:,}",
            f"{size.unknown / max(size.pieces, 1):.4%}",
        )
        for file, size in sizes.items()
    ]
    heads = ("file", "lines", "words", "pieces", "pieces per word", "unknown", "share")
    yield from markdown(heads, rows)
    missing: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    for size in sizes.values():
        missing.update(size.missing)
        characters.update(size.spelled)
    if missing:
        yield f"most frequent unknown pieces: {_first(missing)}"
    if characters:
        often = f"{characters.total():,} characters are spelled in bytes, most often"
        yield f"{often}: {visible(_first(characters))}"


def _first(found: Counter[str]) -> str:
    return " ".join(text for text, _ in found.most_common(20))
