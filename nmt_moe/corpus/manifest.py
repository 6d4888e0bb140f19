"""Manifests: which archives a corpus comes in, where they are, and what of them is which text.

A manifest is a JSON file; those of ``manifests/`` beside this module are part of the package.

=============  ====================================================================================
``pair``       the two languages
``mirrors``    where the archives are, in the order in which to try them
``archives``   for each its ``path`` below a mirror and, as far as known, ``bytes``, ``sha256``,
               ``md5``
``train``      the corpora: the name of an archive, and for each language the member that holds it
``valid``      the same; together they are the validation text
``test``       the same; one of them is the test text
=============  ====================================================================================
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nmt_moe.common.errors import UserError

PAIRS = ("en-de", "en-fr")
_FOLDER = Path(__file__).with_name("manifests")


@dataclass(frozen=True)
class Archive:
    """A file to download."""

    path: str
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        """Its name in the folder of archives."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Corpus:
    """Parallel text: a member of the archive for each language."""

    name: str
    archive: Archive
    members: dict[str, str]


@dataclass(frozen=True)
class Manifest:
    """What is known of a language pair's text."""

    pair: tuple[str, str]
    mirrors: tuple[str, ...]
    train: dict[str, Corpus]
    valid: dict[str, Corpus]
    test: dict[str, Corpus]

    def training(self, names: Sequence[str]) -> list[Corpus]:
        """The corpora of these names, all of them for no name.

        Raises:
            UserError: there is none of that name.
        """
        return [_named(self.train, name, "training corpus") for name in names or self.train]

    def test_set(self, name: str) -> Corpus:
        """The test set of this name; raises UserError if there is none."""
        return _named(self.test, name, "test set")


def archives_of(corpora: Iterable[Corpus]) -> list[Archive]:
    """The archives that these corpora come in, each once."""
    return list(dict.fromkeys(corpus.archive for corpus in corpora))


def load(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        UserError: no such file, or something of it is missing.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        archives = {archive.name: archive for archive in _archives(content["archives"])}
        first, second = content["pair"]
        kinds: list[dict[str, Corpus]] = [
            {
                name: Corpus(
                    name,
                    archives[entry["archive"]],
                    {side: entry[side] for side in (first, second)},
                )
                for name, entry in content[kind].items()
            }
            for kind in ("train", "valid", "test")
        ]
        for name in (first, second, *archives, *(name for kind in kinds for name in kind)):
            if name in ("", ".", "..") or "/" in name or "\0" in name:
                raise ValueError(f"'{name}' cannot be in the name of a file")
        return Manifest((first, second), tuple(content["mirrors"]), *kinds)
    except OSError as error:
        raise UserError(f"no manifest {path}: {error.strerror}") from None
    except KeyError as error:
        raise UserError(f"{path}: the manifest lacks {error}") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is no manifest: {error}") from None


def find(pair: str) -> Path:
    """The repository's manifest of a pair such as ``en-de``."""
    return _FOLDER / f"wmt14-{pair}.json"


def _archives(entries: list[dict[str, Any]]) -> Iterable[Archive]:
    return (Archive(**entry) for entry in entries)


def _named(corpora: dict[str, Corpus], name: str, kind: str) -> Corpus:
    if name not in corpora:
        raise UserError(f"unknown {kind} '{name}': choose from {', '.join(corpora)}")
    return corpora[name]
