"""Tables: text with tabs, or CSV, with the names of the columns in the first line or without."""

import csv
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.common.lines import PACKED, whole_lines
from nmt_moe.corpus.sources.names import sides
from nmt_moe.corpus.sources.pair import Pair, spaced

_LOOKED_AT = 1000  # rows, to find the columns of text
_FEW = 20  # rows for each different cell: what repeats itself more names a kind, and is no text

Row = tuple[int, list[str]]


def pairs(
    path: Path, source: str, target: str, columns: tuple[int, int] | None = None
) -> Iterator[Pair]:
    """The pairs of a table.

    Args:
        path: with commas or semicolons between cells if its name ends in .csv, otherwise tabs.
        source: the language of the source.
        target: that of the target.
        columns: those of both, from 1. None, or more than there are: those that the first row
            names, otherwise the first two of text.

    Raises:
        UserError: it has no such columns, or a row is too short; names the line.
    """
    rows = _rows(path)
    first = list(islice(rows, _LOOKED_AT))
    if not first:
        return
    cells = [row for _, row in first]
    names = _named(cells[:2], source, target)
    if columns is not None and (not names or max(columns) <= len(cells[0])):
        chosen = (columns[0] - 1, columns[1] - 1)
    else:
        chosen = names or _text(cells, path)
    quoted = all(_in_quotes(cell) for row in cells for cell in row)
    for number, row in chain(first[bool(names) :], rows):
        if len(row) <= max(chosen):
            raise UserError(
                f"{path}, line {number}: there is no column {max(chosen) + 1}, only "
                f"{len(row)}: mend the line, or name the columns with --columns"
            )
        left, right = (spaced(_unquoted(row[place], quoted)) for place in chosen)
        yield Pair(left, right, number)


def width(path: Path) -> int:
    """The number of columns of a table."""
    return len(next(_rows(path), (0, []))[1])


def _rows(path: Path) -> Iterator[Row]:
    return _csv(path) if _suffix(path) == ".csv" else _tabs(path)


def _suffix(path: Path) -> str:
    return Path(path.stem if path.suffix in PACKED else path.name).suffix.lower()


def _tabs(path: Path) -> Iterator[Row]:
    for number, line in enumerate(whole_lines(path), 1):
        if line.strip():
            yield number, line.rstrip("\r\n").split("\t")


def _csv(path: Path) -> Iterator[Row]:
    lines = whole_lines(path)
    first = next(lines, "")
    reader = csv.reader(chain([first], lines), delimiter=max(",;\t", key=first.count), strict=True)
    begin = 1
    try:
        for row in reader:
            if any(row):
                yield begin, row
            begin = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {begin}: no row of CSV: {error}") from None


def _in_quotes(cell: str) -> bool:
    inside = cell[1:-1].replace('""', "")
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inside


def _unquoted(cell: str, quoted: bool) -> str:
    """Tables of a spreadsheet have quotes around a cell, and double those in it.

    Without another sign of that the quotes are those of the sentence.
    """
    if _in_quotes(cell) and (quoted or '""' in cell[1:-1]):
        return cell[1:-1].replace('""', '"')
    return cell


def _named(rows: Sequence[Sequence[str]], source: str, target: str) -> tuple[int, int] | None:
    """The columns that the first row names; None if it does not: the next row has others."""
    names = tuple(cell.strip('"') for cell in rows[0])
    left, right = sides(names, source, target)
    if left is None or right is None or left == right:
        return None
    if any({left, right} <= set(row) for row in rows[1:]):  # a code of its language in each row
        return None
    return names.index(left), names.index(right)


def _text(rows: Sequence[Sequence[str]], path: Path) -> tuple[int, int]:
    """The first two columns of text: not of numbers, codes, or kinds."""
    columns = len(rows[0])
    found = [place for place in range(columns) if columns == 2 or _is_text(rows, place)]
    if len(found) < 2:
        raise UserError(
            f"{path}, line 1: {columns} column{'s' * (columns > 1)}, {len(found)} of text, where "
            "there should be the source and its translation with a tab between them: name the "
            "columns with --columns, such as --columns 1 3"
        )
    return found[0], found[1]


def _is_text(rows: Sequence[Sequence[str]], place: int) -> bool:
    cells = [row[place] for row in rows if len(row) > place]
    letters = sum(any(map(str.isalpha, cell)) for cell in cells)
    kinds = len(rows) > 2 and len(set(cells)) <= max(1, len(cells) // _FEW)
    return 2 * letters >= len(rows) and not kinds
