"""Text in one language for language models: ``train.txt``, ``valid.txt`` and ``test.txt``.

The input is a folder with these three files, or one file to split. The split hashes the lines: the
distinct lines with the smallest hashes become the test set, the next ones the validation set. A
line of these sets is never in the training set, even if the file repeats it. The file is read
twice; memory holds only the hashes of the test and validation sets.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

from nmt_moe.common.door import door
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write, check_no_input
from nmt_moe.common.lines import read_lines

SPLITS = ("train", "valid", "test")


def prepare(text: Path, out: Path, valid: int, test: int, seed: int) -> Counter[str]:
    """Write ``out/{train,valid,test}.txt``, without empty lines.

    Args:
        text: a folder with these three files, gzipped or plain, or one file to split.
        out: output folder.
        valid: size of the validation set that is split off one file, in distinct lines.
        test: size of the test set that is split off one file.
        seed: random seed of the split.

    Returns:
        The number of lines of each set.

    Raises:
        UserError: a file is missing or has too few lines.
    """
    lines = _given(text) if text.is_dir() else _split(text, valid, test, seed)
    paths = [out / f"{split}.txt" for split in SPLITS]
    check_no_input(paths, [*text.iterdir()] if text.is_dir() else [text], "--out")
    written = Counter(dict.fromkeys(SPLITS, 0))
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(paths) as opened:
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


def _split(text: Path, valid: int, test: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield the set and the text of each line; the validation and test sets have no duplicates."""
    if valid < 1 or test < 1:
        raise UserError(f"the validation and test sets need a line each, not {valid} and {test}")
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
    """The ``number`` smallest distinct values, ascending, in memory for as many."""
    held: set[int] = set()
    negated: list[int] = []  # a max-heap: heapq has min-heaps only
    for value in values:
        if value in held or (len(held) == number and value > -negated[0]):
            continue
        held.add(value)
        heapq.heappush(negated, -value)
        if len(held) > number:
            held.remove(-heapq.heappop(negated))
    return sorted(held)


main = door(__name__, "corpus", "monolingual")
