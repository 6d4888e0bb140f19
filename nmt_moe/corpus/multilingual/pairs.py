"""Pairs of languages: their names, their tags, and the files of their text."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nmt_moe.common.errors import UserError


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


def training_files(pairs: Mapping[str, Path]) -> dict[Path, str]:
    """The training files of all pairs, each once, and their languages."""
    return {
        path: language
        for pair, folder in pairs.items()
        for path, language in zip(text_files(folder, "train", pair), languages(pair), strict=True)
    }


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
