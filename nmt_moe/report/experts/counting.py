"""Exact counts of pairs, such as experts and wordpieces, merged batch by batch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_BUFFER = 1 << 16  # pairs that wait to be merged
_SHIFT = 32  # a pair is one number, its row above these bits


@dataclass(frozen=True)
class Cells:
    """The non-zero counts of a matrix, sorted by row and then by column."""

    row_C: Ints
    column_C: Ints
    count_C: Ints

    def rows(self, size: int) -> Ints:
        """The sum of each row, ``[size]``."""
        return _sums(self.row_C, self.count_C, size)

    def columns(self) -> Ints:
        """The sum of each column, up to the last non-zero one."""
        return _sums(self.column_C, self.count_C, 0)


def _sums(index_C: Ints, count_C: Ints, size: int) -> Ints:
    # Real numbers inside: exact up to 2^53.
    return np.bincount(index_C, weights=count_C, minlength=size).astype(np.int64)


class PairCounts:
    """Counts pairs of a row and a column, such as experts and wordpieces.

    Memory grows with the number of different pairs.
    """

    def __init__(self) -> None:
        self._key_C: Ints = np.empty(0, np.int64)
        self._count_C: Ints = np.empty(0, np.int64)
        self._waiting: list[Ints] = []
        self._waiting_size = 0

    def add(self, row_A: Ints, column_A: Ints) -> None:
        """Count each pair once more; rows and columns are from 0 to ``2^31 - 1``."""
        self._waiting.append(row_A << _SHIFT | column_A)
        self._waiting_size += len(row_A)
        # As much waits as is there: each key is merged a constant number of times on average.
        if self._waiting_size >= max(_BUFFER, len(self._key_C)):
            self._merge()

    def cells(self) -> Cells:
        """All counts so far."""
        self._merge()
        return Cells(self._key_C >> _SHIFT, self._key_C & ((1 << _SHIFT) - 1), self._count_C)

    def _merge(self) -> None:
        if not self._waiting_size:
            return
        key_C, count_C = np.unique(np.concatenate(self._waiting), return_counts=True)
        key_C = np.concatenate([self._key_C, key_C])
        count_C = np.concatenate([self._count_C, count_C])
        order_C = np.argsort(key_C, kind="stable")
        key_C, count_C = key_C[order_C], count_C[order_C]
        start_C = np.flatnonzero(np.diff(key_C, prepend=-1))
        self._key_C, self._count_C = key_C[start_C], np.add.reduceat(count_C, start_C)
        self._waiting, self._waiting_size = [], 0


def place_in_group(group_A: Ints) -> Ints:
    """The position of each entry within its group, from 0; ``group_A`` is sorted."""
    start_A = np.flatnonzero(np.diff(group_A, prepend=-1))
    sizes = np.diff(start_A, append=len(group_A))
    return np.arange(len(group_A)) - np.repeat(start_A, sizes)
