"""Plain text and TSV: a unit for each line, and for each chosen field."""

from collections.abc import Iterable, Sequence

from nmt_moe.common.errors import UserError
from nmt_moe.translate.documents.parts import Document, Unit, text, with_atoms


def text_lines(lines: Iterable[str]) -> Document:
    """Each line is a unit; its indentation and its end stay."""
    for line in lines:
        yield from _field(line)


def tsv(lines: Iterable[str], columns: Sequence[str], file: str) -> Document:
    """The fields of the chosen columns are units.

    Args:
        lines: with their ends.
        file: its name, for errors.
        columns: numbers from 1 on, or names of the first line, which then stays.

    Raises:
        UserError: there is no such column; names the line.
    """
    numbers: list[int] | None = None
    if all(name.isdecimal() and name != "0" for name in columns):
        numbers = [int(name) for name in columns]
    for place, line in enumerate(lines, start=1):
        content = line.rstrip("\r\n")
        fields = content.split("\t")
        if numbers is None:
            names = [name.strip() for name in fields]
            for name in columns:
                if name not in names:
                    raise UserError(
                        f"{file}: the first line has no column {name!r}: choose from "
                        f"{', '.join(names)}, or give its number"
                    )
            numbers = [names.index(name) + 1 for name in columns]
            yield line
            continue
        if content and max(numbers) > len(fields):
            raise UserError(
                f"{file}, line {place}: has {len(fields)} columns between tabs, no column "
                f"{max(numbers)}"
            )
        for number, one in enumerate(fields, start=1):
            yield "\t" if number > 1 else ""
            if number in numbers:
                yield from _field(one)
            else:
                yield one
        yield line[len(content) :]


def _field(line: str) -> Document:
    content = line.strip()
    if not content:
        yield line
        return
    start = line.index(content)
    yield line[:start]
    yield Unit(with_atoms([text(content)]))
    yield line[start + len(content) :]
