"""Finding duplicate pairs by hashes in files on disk, bucket by bucket.

Each pair takes 16 bytes of disk: a hash of 64 bits and its number. Files hold the pairs whose
hashes have a common prefix, so that equal hashes are in one file; a file that is too large for
memory is split again. The numbers of duplicates are written to files by window of 2^20 consecutive
pairs. Memory holds one bucket or one window.

Two different pairs have the same hash with probability 2^-64, and then the second is lost: of n
pairs n^2 / 2^65 on average, 0.00004 of 40 million.
"""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np

_BITS = 6  # of the hash that choose a file: 64 files are open at a time
_RECORD = np.dtype([("hash", "<u8"), ("number", "<u8")])
_HELD = 2**16  # records between two writes
WINDOW = 2**20  # pairs
BUCKET = 2**20  # records that are compared at once; about 60 bytes of memory each


def digest(text: str) -> bytes:
    """The hash of a pair, 8 bytes."""
    return blake2b(text.encode(), digest_size=8).digest()


class Duplicates:
    """Collects the hashes of all pairs in order, then yields which pairs are duplicates."""

    def __init__(self, folder: Path, bucket: int = BUCKET) -> None:
        """Files go to the folder, which exists and is removed by who made it."""
        self.folder = folder
        self.bucket = bucket
        self.pairs = 0
        self._held: list[np.ndarray] = []
        self._records = 0
        self._files = _Files(folder / "hashes.", shift=64 - _BITS)

    def add(self, digests: bytes) -> None:
        """Add the hashes of the next pairs, 8 bytes each."""
        hashes = np.frombuffer(digests, "<u8")
        records = np.empty(len(hashes), _RECORD)
        records["hash"] = hashes
        records["number"] = np.arange(self.pairs, self.pairs + len(hashes))
        self.pairs += len(hashes)
        self._held.append(records)
        self._records += len(hashes)
        if self._records >= _HELD:
            self._write()

    def _write(self) -> None:
        if self._held:
            self._files.write(self._first(np.concatenate(self._held)))
        self._held, self._records = [], 0

    def repeated(self) -> Iterator[list[bool]]:
        """For each pair in order whether an equal pair came before, in lists of WINDOW pairs."""
        self._write()
        for path in self._files.close():
            self._compare(path, 64 - 2 * _BITS)
        for start in range(0, self.pairs, WINDOW):
            flags = np.zeros(min(WINDOW, self.pairs - start), bool)
            path = self._window(start)
            if path.exists():
                flags[np.fromfile(path, "<u8") - np.uint64(start)] = True
                path.unlink()
            yield flags.tolist()

    def _window(self, start: int) -> Path:
        return self.folder / f"repeated.{start // WINDOW}"

    def _compare(self, path: Path, shift: int) -> None:
        """Find the repeated pairs of a file; ``shift`` is that of the bits to divide it by."""
        if path.stat().st_size > self.bucket * _RECORD.itemsize and shift >= 0:
            files = _Files(path.with_name(path.name + "."), shift)
            with path.open("rb") as file:
                while len(records := np.fromfile(file, _RECORD, _HELD)):
                    files.write(self._first(records))
            path.unlink()
            for part in files.close():
                self._compare(part, shift - _BITS)
        else:
            self._first(np.fromfile(path, _RECORD))
            path.unlink()

    def _first(self, records: np.ndarray) -> np.ndarray:
        """The records whose hash none before them has; the numbers of the others are noted."""
        order = np.argsort(records["hash"], kind="stable")  # equal ones in the order of the pairs
        hashes = records["hash"][order]
        again = np.zeros(len(records), bool)
        again[order[1:][hashes[1:] == hashes[:-1]]] = True
        numbers = records["number"][again]  # ascending
        starts = np.flatnonzero(np.diff(numbers // WINDOW)) + 1
        for found in np.split(numbers, starts):
            if len(found):
                with self._window(int(found[0])).open("ab") as out:
                    found.tofile(out)
        return records[~again]


class _Files:
    """Records in files by some bits of their hash, in the order in which they come."""

    def __init__(self, prefix: Path, shift: int) -> None:
        self.prefix = prefix
        self.shift = np.uint64(shift)
        self.files: dict[int, BinaryIO] = {}

    def write(self, records: np.ndarray) -> None:
        places = (records["hash"] >> self.shift) & np.uint64(2**_BITS - 1)
        records = records[np.argsort(places, kind="stable")]
        counts = np.bincount(places.astype(np.int64), minlength=2**_BITS)
        for place, part in enumerate(np.split(records, np.cumsum(counts)[:-1])):
            if len(part):
                if place not in self.files:
                    self.files[place] = open(f"{self.prefix}{place}", "wb")  # noqa: SIM115
                self.files[place].write(part.tobytes())

    def close(self) -> list[Path]:
        """The files, each complete."""
        for file in self.files.values():
            file.close()
        return [Path(file.name) for file in self.files.values()]
