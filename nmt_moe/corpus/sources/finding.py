"""Finding the sources in what a user names: which files belong together, and how each is read."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.common.lines import PACKED, whole_lines
from nmt_moe.corpus.sources import tables
from nmt_moe.corpus.sources.names import is_language, plain
from nmt_moe.corpus.sources.source import Form, Source, Split

_FORMS: dict[str, Form] = {
    **dict.fromkeys((".tsv", ".tab", ".csv"), "table"),
    ".tmx": "tmx",
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "json"),
}
_NO_TEXT = ".zip .tar .tgz .zst .7z .rar .docx .xlsx .pdf .parquet .arrow".split()
_SPLITS: dict[str, Split] = {"train": "train", "valid": "valid", "val": "valid", "dev": "valid",
                             "test": "test"}  # fmt: skip
_SPLIT = re.compile(rf"({'|'.join(_SPLITS)})(?![a-z])", re.IGNORECASE)


def find(
    files: Sequence[Path],
    source: str,
    target: str,
    *,
    columns: tuple[int, int] | None = None,
    split: Split | None = None,
) -> list[Source]:
    """The sources of parallel text in files and folders, in the order of their names.

    Two aligned files are told apart by their last ending before .gz, .xz or .bz2, which is a
    language, or else are source and target in this order. A name that begins with train, valid,
    val, dev or test, in a folder or among several sources, says what the text is for; all other
    text is for training.

    Args:
        files: the files and folders.
        source: the language of the source, such as ``en``.
        target: that of the target.
        columns: of the tables that have so many, from 1.
        split: what all of it is for, whatever the names.

    Raises:
        UserError: a file is missing, has no partner, or is in a format that is not read.
    """
    if plain(source) == plain(target):
        raise UserError(f"source and target are the same language '{source}'")
    pair = (source, target)
    found = _named([path for path in files if not path.is_dir()], pair)
    for folder in (path for path in files if path.is_dir()):
        found += _folder(folder, pair)
    if not found:
        raise UserError("no text is given: name two aligned files, or one table, TMX or JSON lines")
    found.sort(key=lambda one: min(map(_place(files), one.files)))
    if split is not None or len(found) == 1:
        found = [replace(one, split=split or "train") for one in found]
    alike = Counter(one.name for one in found)
    return [
        replace(
            one,
            name=one.name if alike[one.name] == 1 else " + ".join(map(str, one.files)),
            columns=columns if one.form == "table" else None,
        )
        for one in found
    ]


def check_columns(columns: tuple[int, int] | None, sources: Sequence[Source]) -> None:
    """Raise a :class:`UserError` for columns that no table among the sources has."""
    if columns is None:
        return
    named = f"--columns {columns[0]} {columns[1]}"
    if columns[0] == columns[1]:
        raise UserError(f"{named}: source and target are one column")
    paths = [one.files[0] for one in sources if one.form == "table"]
    widths = {path: tables.width(path) for path in paths}
    if max(columns) > max(widths.values(), default=0):
        most = ", ".join(f"{path} has {count}" for path, count in widths.items())
        raise UserError(f"{named}: no table has so many columns{', ' * bool(most)}{most}")


def _place(files: Sequence[Path]) -> Callable[[Path], int]:
    """The place at which a file, or the folder around it, was given."""
    return lambda path: files.index(path if path in files else path.parent)


@dataclass(frozen=True)
class _File:
    """A file, and what its name says."""

    path: Path
    stem: str
    """The name without the language."""
    side: int | None
    """0: in the source's language, 1: in the target's."""
    suffix: str
    """Before that of packing."""

    @property
    def form(self) -> Form | None:
        return _FORMS.get(self.suffix)

    @property
    def split(self) -> Split | None:
        named = _SPLIT.match(self.stem)
        return _SPLITS[named[1].lower()] if named else None

    def source(self, pair: tuple[str, str], form: Form) -> Source:
        return Source(self.path.name, self.split or "train", (self.path,), *pair, form)


def _describe(path: Path, pair: tuple[str, str]) -> _File:
    name = path.stem if path.suffix in PACKED else path.name
    suffix = Path(name).suffix.lower()
    stem, _, ending = name.removesuffix(".txt").rpartition(".")
    exact = [side for side, language in enumerate(pair) if plain(ending) == plain(language)]
    alike = [side for side, language in enumerate(pair) if is_language(ending, language)]
    sides = exact or alike
    if suffix in _FORMS or len(sides) != 1:
        return _File(path, name, None, suffix)
    return _File(path, stem or "-".join(pair), sides[0], suffix)


def _named(paths: Sequence[Path], pair: tuple[str, str]) -> list[Source]:
    """The sources of files that are named one by one: all of them are needed."""
    twice = next((path for path, number in Counter(paths).items() if number > 1), None)
    if twice is not None:
        raise UserError(f"{twice} is given twice")
    files = [_describe(path, pair) for path in paths]
    for file in files:
        if not file.path.is_file():
            reason = "no file that can be read twice" if file.path.exists() else "no such file"
            raise UserError(f"{file.path}: {reason}")
        if file.path.suffix.lower() in _NO_TEXT:
            raise UserError(f"{file.path}: unpack it, or save it as text, TSV, TMX or JSON lines")
    found, alone = _grouped(files, pair)
    for left, right in zip(alone[::2], alone[1::2], strict=False):
        known = [file for file in (left, right) if file.side is not None]
        if known and (len(alone) > 2 or left.side == right.side):
            raise _no_partner(known[0], pair)
        if left.side == 1 or right.side == 0:
            left, right = right, left
        found.append(_aligned(f"{left.path.name} + {right.path.name}", left, right, pair))
    if len(alone) % 2:
        raise _no_partner(alone[-1], pair)
    return found


def _folder(folder: Path, pair: tuple[str, str]) -> list[Source]:
    """The sources of a folder; files of another language or an unknown format are left."""
    there = [_describe(path, pair) for path in sorted(folder.iterdir()) if path.is_file()]
    known = [
        file
        for file in there
        if file.side is not None or (file.form and (file.suffix != ".json" or file.split))
    ]
    # A plain file stands for its packed twin.
    unique = {(file.stem, file.side): file for file in known[::-1]}
    found, alone = _grouped(list(unique.values())[::-1], pair)
    for file in alone:
        if file.split:
            raise _no_partner(file, pair)
    if not found:
        raise UserError(
            f"{folder} holds no text in {pair[0]} and {pair[1]}: name its files train.{pair[0]}, "
            f"train.{pair[1]}, valid.{pair[0]} and so on, or train.tsv, .tmx or .jsonl"
        )
    return found


def _grouped(files: Sequence[_File], pair: tuple[str, str]) -> tuple[list[Source], list[_File]]:
    """The sources that are sure, and the files of text that have no partner by their names."""
    found: list[Source] = []
    sides: dict[tuple[Path, str], list[_File]] = {}
    alone: list[_File] = []
    for file in files:
        if file.side is not None:
            sides.setdefault((file.path.parent, file.stem), []).append(file)
        elif file.form or _has_tabs(file.path):
            found.append(file.source(pair, file.form or "table"))
        else:
            alone.append(file)
    for group in sides.values():
        group.sort(key=lambda file: file.side or 0)
        if [file.side for file in group] == [0, 1]:
            found.append(_aligned(group[0].stem, group[0], group[1], pair))
        else:
            alone += group
    return found, sorted(alone, key=files.index)


def _aligned(name: str, left: _File, right: _File, pair: tuple[str, str]) -> Source:
    return Source(name, left.split or "train", (left.path, right.path), *pair)


def _has_tabs(path: Path) -> bool:
    return "\t" in next((line for line in whole_lines(path) if line.strip()), "")


def _no_partner(file: _File, pair: tuple[str, str]) -> UserError:
    if file.side is None:
        return UserError(
            f"{file.path}: lines of text without tabs: name its translation after it, line n of "
            "which is the translation of line n"
        )
    other = f"{file.stem}.{pair[1 - file.side]}"
    return UserError(f"{file.path} has no partner: there should be {other} beside it")
