"""Translating files and standard input into files and standard output."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write, check_no_input
from nmt_moe.translate.documents.forms import Encoded, document, form_of
from nmt_moe.translate.documents.translating import Documents


@dataclass(frozen=True)
class Job:
    """A file to translate, or standard input."""

    source: Path | None
    out: Path | None
    """None: standard output."""
    form: str

    @property
    def name(self) -> str:
        return "standard input" if self.source is None else str(self.source)


def plan(
    files: Sequence[Path], named: str | None, form: str | None, columns: str | None
) -> list[Job]:
    """The files to translate and where to.

    Args:
        files: none: standard input.
        named: a file, or a folder for files of the same names; with a slash at its end a folder.
        form: None: by their endings.
        columns: of TSV, as the user gave them.

    Raises:
        UserError: a file is missing, would be written over or have no place, or its columns are not
            known.
    """
    out = None if named is None else Path(named)
    for file in files:
        if not file.exists():
            raise UserError(f"there is no file {file}")
        if file.is_dir():
            raise UserError(f"{file} is a folder: name files in it")
    if out is None and len(files) > 1:
        raise UserError("several files need a folder for their translations: name it with --out")
    into_folder = out is not None and (out.is_dir() or len(files) > 1 or str(named).endswith("/"))
    if into_folder and not files:
        raise UserError(f"{out} is a folder: name a file in it with --out")
    jobs = [
        Job(file, out / file.name if out and into_folder else out, form or form_of(file))
        for file in files
    ] or [Job(None, out, form or "text")]
    outs = [job.out for job in jobs if job.out is not None]
    if len({*outs}) < len(outs):
        raise UserError("two files have one name: translate them into folders of their own")
    check_no_input(outs, files, "file or folder with --out")
    tables = [job for job in jobs if job.form == "tsv"]
    if tables and not columns:
        raise UserError(
            f"which column of {tables[0].name} is to be translated? Name it with --column, such as "
            "--column 2, or by its name in the first line"
        )
    if columns and not tables:
        raise UserError("--column is for TSV: give --format tsv if the text has columns")
    return jobs


def translate(
    jobs: Sequence[Job],
    documents: Documents,
    columns: str | None,
    done: Callable[[int], None],
) -> None:
    """Translate files.

    Args:
        jobs: what :func:`plan` returned.
        documents: the translator.
        columns: numbers or names with commas between them.
        done: is told how many texts were translated.

    Raises:
        UserError: a file cannot be read; names it and the line.
    """
    for job in jobs:
        if job.out is None:
            _translate(job, documents, columns, done, sys.stdout.buffer)
            continue
        job.out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write([job.out], "wb") as [file]:
            _translate(job, documents, columns, done, file)


def _translate(
    job: Job,
    documents: Documents,
    columns: str | None,
    done: Callable[[int], None],
    out: IO[bytes],
) -> None:
    file = sys.stdin.buffer if job.source is None else job.source.open("rb")
    with file:
        read = Encoded(file, job.name)
        out.write(read.mark)
        names = columns.split(",") if columns else []
        for text, units in documents(document(job.form, read.lines(), names, job.name)):
            out.write(text.encode(read.encoding))
            out.flush()
            done(units)
