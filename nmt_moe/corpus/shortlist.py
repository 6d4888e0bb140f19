"""For each piece of a source language the pieces that its translations are made of.

With such a table a search computes the output layer for some hundred pieces, those that the
sentences at hand may need, and not for the whole vocabulary. It is learned by
:mod:`nmt_moe.corpus.lexicon`.
"""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write

_FORMAT = 1  # of the file
# What numpy and zipfile raise.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Shortlist:
    """A table; pieces are numbers in the dictionaries of source and target."""

    common_N: np.ndarray
    """Target pieces that every sentence may have, int64."""
    first_S: np.ndarray
    """Where in ``pieces_N`` those of each source piece begin, and the end of the last; int64."""
    pieces_N: np.ndarray
    """The target pieces of all source pieces, one after the other, int64."""

    def __post_init__(self) -> None:
        first_S = self.first_S
        if not (len(first_S) and first_S[0] == 0 and first_S[-1] == len(self.pieces_N)):
            raise ValueError("the table is damaged")

    def select(self, source: np.ndarray) -> np.ndarray:
        """The target pieces, in order, that translations of these source pieces may have.

        Args:
            source: source pieces, in any shape.
        """
        own_N = np.unique(source)
        begin_N, size_N = self.first_S[own_N], np.diff(self.first_S)[own_N]
        return np.unique(np.concatenate([self.common_N, self.pieces_N[ranges(begin_N, size_N)]]))


def ranges(begin_N: np.ndarray, size_N: np.ndarray) -> np.ndarray:
    """The numbers of ``range(begin, begin + size)`` of each, one after the other."""
    before_N = size_N.cumsum() - size_N
    return np.repeat(begin_N - before_N, size_N) + np.arange(size_N.sum())


def write(path: Path, table: Shortlist, source: Sequence[str], target: Sequence[str]) -> None:
    """Write a table.

    Args:
        path: of the file.
        table: what is written.
        source: the pieces of the source dictionary by their numbers.
        target: those of the target dictionary.
    """
    with atomic_write([path], "wb") as [file]:
        np.savez_compressed(
            file,
            format=np.array(_FORMAT),
            vocabularies=np.array([_digest(source), _digest(target)]),
            common=table.common_N.astype(np.int32),
            sizes=np.diff(table.first_S).astype(np.int32),
            pieces=table.pieces_N.astype(np.int32),
        )


def read(path: Path, source: Sequence[str], target: Sequence[str]) -> Shortlist:
    """Read a table that :func:`write` has written.

    Args:
        path: of the file.
        source: the pieces of the source dictionary by their numbers.
        target: those of the target dictionary.

    Raises:
        UserError: the file is missing, is no table, or is of other vocabularies.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"--shortlist {path}: cannot be read: {error.strerror or error}") from None
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            if file["format"] != _FORMAT:
                raise ValueError("another format")
            vocabularies = file["vocabularies"].tolist()
            common_N, sizes_S, pieces_N = (
                file[name].astype(np.int64) for name in ("common", "sizes", "pieces")
            )
        table = Shortlist(common_N, np.concatenate([[0], sizes_S.cumsum()]), pieces_N)
    except _DAMAGED:
        raise UserError(
            f"--shortlist {path} is no table of 'nmt-moe model shortlist', or is damaged"
        ) from None
    for side, given, own in zip(("source", "target"), vocabularies, (source, target), strict=True):
        if given != _digest(own):
            raise UserError(
                f"--shortlist {path} was learned for another vocabulary of the {side} than this "
                "model has: learn one with 'nmt-moe model shortlist'"
            )
    return table


def _digest(pieces: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(pieces).encode()).hexdigest()
