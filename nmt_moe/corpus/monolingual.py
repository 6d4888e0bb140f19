"""Text in one language as ``train.txt``, ``valid.txt`` and ``test.txt``: given so, or one file.

One file is read twice. Of its different lines, those with the smallest hashes are the test and
validation text: no line of these is in the training text, however often it occurs, and memory
holds the hashes of these lines alone.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

from nmt_moe.common.door import door
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.lines import read_lines

SPLITS = ("train", "valid", "test")


def prepare(text: Path, out: Path, valid: int, test: int, seed: int) -> Counter[str]:
    """Write ``out/{train,valid,test}.txt``, without empty lines.

    Args:
        text: a folder with three such files, gzipped or plain, or one file to divide.
        out: where they go.
        valid: lines of the validation text, all different, when there is one file.
        test: the same of the test text.
        seed: of the choice of these lines.

    Returns:
        The lines of each split.

    Raises:
        UserError: a file that is missing or holds too few lines.
    """
    lines = _given(text) if text.is_dir() else _divided(text, valid, test, seed)
    written = Counter(dict.fromkeys(SPLITS, 0))
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write([out / f"{split}.txt" for split in SPLITS]) as opened:
        files = dict(zip(SPLITS, opened, strict=True))
        for split, line in lines:
            files[split].write(line + "\n")
            written[split] += 1
        for split in SPLITS:
            if not written[split]:
                raise UserError(f"{text}: there is no line of {split} text")
    return written


def _given(folder: Path) -> Iterator[tuple[str, str]]:
    found = {split: _find(folder, f"{split}.txt") for split in SPLITS}
    return ((split, line) for split, path in found.items() for line in _lines(path))


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise UserError(f"{folder} holds neither {name} nor {name}.gz")


def _lines(path: Path) -> Iterator[str]:
    return filter(None, read_lines(path))


def _divided(text: Path, valid: int, test: int, seed: int) -> Iterator[tuple[str, str]]:
    """The lines with their splits; of equal lines that are not training text, the first."""
    if valid < 1 or test < 1:
        raise UserError(f"the validation and test text need a line each, not {valid} and {test}")
    hashes = smallest((_hash(line, seed) for line in _lines(text)), valid + test + 1)
    if len(hashes) <= valid + test:
        raise UserError(
            f"{text} has {len(hashes):,} different lines: too few for {valid:,} of validation, "
            f"{test:,} of test and some of training; ask for fewer, or give more text"
        )
    split_of = dict.fromkeys(hashes[:test], "test")
    split_of |= dict.fromkeys(hashes[test : test + valid], "valid")
    for line in _lines(text):
        value = _hash(line, seed)
        if value not in split_of:
            yield "train", line
        elif split_of[value]:
            yield split_of[value], line
            split_of[value] = ""


def _hash(line: str, seed: int) -> int:
    return int.from_bytes(blake2b(f"{seed} {line}".encode(), digest_size=16).digest())


def smallest(values: Iterable[int], number: int) -> list[int]:
    """The smallest of the different values, ascending; holds no more than that number."""
    held: set[int] = set()
    negated: list[int] = []  # a heap, the largest value first
    for value in values:
        if value in held or (len(held) == number and value > -negated[0]):
            continue
        held.add(value)
        heapq.heappush(negated, -value)
        if len(held) > number:
            held.remove(-heapq.heappop(negated))
    return sorted(held)


main = door(__name__, "corpus", "monolingual")
