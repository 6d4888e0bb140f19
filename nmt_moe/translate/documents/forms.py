"""The forms of files: which one a file has, and its bytes as text and back."""

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import BinaryIO

from nmt_moe.common.errors import UserError
from nmt_moe.translate.documents.lines import text_lines, tsv
from nmt_moe.translate.documents.markdown import markdown
from nmt_moe.translate.documents.markup import hypertext
from nmt_moe.translate.documents.parts import Document
from nmt_moe.translate.documents.subtitles import subtitles

FORMS = ("text", "tsv", "srt", "markdown", "html")
ENDINGS = {
    **dict.fromkeys((".tsv", ".tab"), "tsv"),
    **dict.fromkeys((".srt", ".vtt"), "srt"),
    **dict.fromkeys((".md", ".markdown"), "markdown"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
}
"""Of names of files, by which their forms are known; all others are text."""
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def form_of(path: Path) -> str:
    """The form of a file by its ending; text, if no other has it."""
    return ENDINGS.get(path.suffix.lower(), "text")


def document(
    form: str, lines: Iterable[str], columns: Sequence[str] = (), name: str = "text"
) -> Document:
    """Cut a text into what stays and what is translated.

    Args:
        form: such as ``markdown``.
        lines: with their ends.
        columns: of TSV.
        name: of the text, for errors.

    Raises:
        UserError: the text does not have this form.
    """
    if form == "tsv":
        return tsv(lines, columns, name)
    if form == "text":
        return text_lines(lines)
    if form == "srt":
        return subtitles(lines)
    return (markdown if form == "markdown" else hypertext)("".join(lines))


class NotText(UserError):
    """A file is not in the encoding that it must have."""


class Encoded:
    """A file of text in UTF-8, or in UTF-16 with a byte-order mark.

    Args:
        file: is read as its lines are asked for.
        name: of the file, for errors.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        first = file.readline()
        self.mark = next((mark for mark in _MARKS if first.startswith(mark)), b"")
        """The byte-order mark, if there is one."""
        self.encoding = _MARKS.get(self.mark, "utf-8")
        self._first = first.removeprefix(self.mark)

    def lines(self) -> Iterator[str]:
        """The lines with their ends; only a line feed ends a line.

        Raises:
            NotText: a line is not text; names it.
        """
        if self.encoding == "utf-8":
            yield from map(self._decoded, self._byte_lines(), count(1))
        else:
            text = self._decoded(self._first + self._file.read(), 1)
            yield from (match[0] for match in _LINE.finditer(text))

    def _byte_lines(self) -> Iterator[bytes]:
        if self._first:
            yield self._first
        yield from self._file

    def _decoded(self, raw: bytes, number: int) -> str:
        try:
            return raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            where = f", line {number}" if self.encoding == "utf-8" else ""
            raise NotText(
                f"{self._name}{where}: not valid {self.encoding.upper()} (byte {error.start + 1}): "
                f"convert it first, as with iconv -f WINDOWS-1252 -t UTF-8"
            ) from None
