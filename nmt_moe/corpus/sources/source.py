"""A source of parallel text: one file or two, and how they are read."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nmt_moe.common.errors import UserError
from nmt_moe.common.lines import read_pairs, unreadable
from nmt_moe.corpus.sources import json_lines, tables, tmx
from nmt_moe.corpus.sources.pair import Pair

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
Form = Literal["aligned", "table", "tmx", "json"]

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Source:
    """Parallel text. Two aligned files need no more than the first three fields."""

    name: str
    """What users know it by, without folders where that is clear."""
    split: Split
    files: tuple[Path, ...]
    """Two, source and target, or one with both."""
    source: str = ""
    """The language, for files with both."""
    target: str = ""
    form: Form = "aligned"
    columns: tuple[int, int] | None = None
    """Of a table, from 1."""

    def pairs(self) -> Iterator[Pair]:
        """All pairs in order, also those with an empty side; memory does not grow.

        Raises:
            UserError: a file is damaged or not what it should be; names it and the line.
        """
        for number, pair in enumerate(self._read(), 1):
            text = pair.source + pair.target if number == 1 else ""
            if 3 * text.count("\0") > len(text):
                raise UserError(
                    f"{self.files[0]}, line {pair.line}: no text, or UTF-16 without a byte-order "
                    f"mark: convert it with iconv -f UTF-16LE -t UTF-8 {self.files[0]}"
                )
            yield pair

    def _read(self) -> Iterator[Pair]:
        if self.form == "table":
            return tables.pairs(self.files[0], self.source, self.target, self.columns)
        if self.form == "tmx":
            return tmx.pairs(self.files[0], self.source, self.target)
        if self.form == "json":
            return json_lines.pairs(self.files[0], self.source, self.target)
        lines = enumerate(read_pairs(self.files[0], self.files[1]), 1)
        return (Pair(left, right, number) for number, (left, right) in lines)

    def checksum(self) -> str:
        """The SHA-256 of the files' bytes, one after the other."""
        value = hashlib.sha256()
        for path in self.files:
            try:
                with path.open("rb") as file:
                    while block := file.read(_BLOCK):
                        value.update(block)
            except OSError as error:
                raise unreadable(path, error) from None
        return value.hexdigest()
