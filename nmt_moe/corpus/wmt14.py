"""Extract WMT'14 from its archives: the training corpora, the validation set and the test sets.

Training corpora are copied byte by byte, so that cleaning sees the original text. Both sides of a
corpus must have the same number of line feeds. Memory does not depend on the size of the archives.
"""

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from nmt_moe.common.door import door
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.corpus import archives, checksums, manifest, sgm
from nmt_moe.corpus.manifest import Corpus, Manifest

_LARGEST_SGM = 1 << 26


class _Side:
    """One side of a training corpus: counts its lines, and ends the last one with a line feed."""

    def __init__(self, file: IO[bytes]) -> None:
        self.lines = 0
        self._file = file
        self._last = b"\n"

    def write(self, block: bytes, /) -> None:
        self._file.write(block)
        self.lines += block.count(b"\n")
        self._last = block[-1:]

    def end(self) -> None:
        if self._last != b"\n":
            self.write(b"\n")


class _Memory(io.BytesIO):
    """An SGM file in memory, of limited size: a damaged archive might unpack to any size."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def write(self, block: Any, /) -> int:
        if self.tell() + len(block) > _LARGEST_SGM:
            raise UserError(f"{self._name} has more than {_LARGEST_SGM:,} bytes")
        return super().write(block)


def prepare(
    known: Manifest,
    folder: Path,
    out: Path,
    corpora: Sequence[str] = (),
    tests: Sequence[str] = ("full",),
) -> None:
    """Write ``out/train/CORPUS.LANG``, ``out/valid.LANG`` and ``out/test.LANG``.

    Prints the number of sentence pairs of each corpus.

    Args:
        known: the corpora, and the archives and members that hold them.
        folder: the folder of the archives. The checksums of all needed archives are verified before
            the first one is extracted.
        out: output folder.
        corpora: names of the training corpora; empty: all.
        tests: names of the test sets; those after the first one become ``out/test-NAME.LANG``.

    Raises:
        UserError: an archive or a member is missing or damaged, or the sides of a corpus differ in
            length.
    """
    training = known.training(corpora)
    held_out = {"valid": list(known.valid.values())}
    for name in tests:
        held_out["test" if name == tests[0] else f"test-{name}"] = [known.test_set(name)]
    for archive in manifest.archives_of([*training, *itertools.chain(*held_out.values())]):
        checksums.verify(archive, folder)
    (out / "train").mkdir(parents=True, exist_ok=True)
    for archive in manifest.archives_of(training):
        _copy(folder / archive.name, [one for one in training if one.archive == archive], out)
    for split, parts in held_out.items():
        _write(split, parts, folder, out)


def _copy(archive: Path, corpora: list[Corpus], out: Path) -> None:
    """Extract the training corpora of an archive in one pass over it."""
    paths = {
        member: out / f"train/{corpus.name}.{language}"
        for corpus in corpora
        for language, member in corpus.members.items()
    }
    with atomic_write([*paths.values()], "wb") as files:
        sides = {member: _Side(file) for member, file in zip(paths, files, strict=True)}
        archives.extract(archive, sides)
        for side in sides.values():
            side.end()
        for corpus in corpora:
            pair = [(member, sides[member]) for member in corpus.members.values()]
            (one, first), (other, second) = pair
            if first.lines != second.lines:
                raise UserError(
                    f"{archive}: {one} has {first.lines:,} lines but {other} has "
                    f"{second.lines:,}: no line can be told to be the translation of another"
                )
    for corpus in corpora:
        lines = sides[next(iter(corpus.members.values()))].lines
        print(f"train, {corpus.name}: {lines:,} pairs", flush=True)


def _write(split: str, corpora: list[Corpus], folder: Path, out: Path) -> None:
    """Write the validation or a test set, which the archives hold as SGM."""
    found = []
    for corpus in corpora:
        archive = folder / corpus.archive.name
        contents = {name: _Memory(f"{archive}, {name}") for name in corpus.members.values()}
        archives.extract(archive, contents)
        source, target = (
            (f"{archive}, {member}", content.getvalue()) for member, content in contents.items()
        )
        found += sgm.pairs(source, target)
    with atomic_write([out / f"{split}.{language}" for language in corpora[0].members]) as files:
        for pair in found:
            for file, line in zip(files, pair, strict=True):
                file.write(f"{line}\n")
    names = " and ".join(f"{corpus.name} of {corpus.archive.name}" for corpus in corpora)
    print(f"{split}, {names}: {len(found):,} pairs", flush=True)


main = door(__name__, "corpus", "wmt14")
