"""The pipeline of cleaning: workers apply the rules, then duplicates are removed.

Pairs that pass the rules are written to a folder beside the output, with the hashes of
:mod:`~nmt_moe.corpus.clean.duplicates`; a second pass removes the duplicates. The disk needs space
for twice the size of the output, and 16 bytes for each pair.
"""

import bisect
import contextlib
import fcntl
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write, check_no_input
from nmt_moe.common.progress import Progress
from nmt_moe.corpus.clean.duplicates import Duplicates, digest
from nmt_moe.corpus.clean.reading import Chunk, find, read_chunks
from nmt_moe.corpus.clean.report import Report, Tally
from nmt_moe.corpus.clean.rules import CHANGES, Limits, judge
from nmt_moe.corpus.workers import ordered_map

_ENDING = 5  # seconds for the workers of a killed command to notice, and to let go of its lock


@dataclass
class Options:
    """The options of cleaning; ``foreign`` is as in :func:`~nmt_moe.corpus.clean.rules.judge`."""

    limits: Limits = field(default_factory=Limits)
    foreign: Callable[[str, str], bool] | None = None
    keep_duplicates: bool = False
    workers: int = 1


@dataclass
class Cleaned:
    """The remaining lines of a chunk on both sides, and a hash of each pair."""

    name: str
    read: int
    kept: int = 0
    source: bytes = b""
    target: bytes = b""
    digests: bytes = b""
    tally: Tally = field(default_factory=Tally)


def clean(inputs: Sequence[Path], out: Path, languages: Sequence[str], options: Options) -> Report:
    """Write ``OUT.LANGUAGE`` for both languages from ``INPUT.LANGUAGE`` or ``INPUT.LANGUAGE.gz``.

    Pairs keep the order of the inputs; the output does not depend on the number of workers.

    Raises:
        UserError: an input is missing, damaged or not aligned, or no pair is left; then nothing is
            written.
    """
    files = [[find(prefix, language) for language in languages] for prefix in inputs]
    outputs = [out.with_name(f"{out.name}.{language}") for language in languages]
    check_no_input(outputs, [path for pair in files for path in pair], "--out")
    if len(set(inputs)) < len(inputs):
        raise UserError("an input is given twice")
    with _scratch(out) as folder, atomic_write(outputs, "wb") as unique:
        nothing = Counter({str(prefix): 0 for prefix in inputs})
        report = Report(
            languages, CHANGES, _removals(options), read=nothing.copy(), kept=nothing.copy()
        )
        duplicates = None if options.keep_duplicates else Duplicates(folder)
        chunks = (
            chunk
            for prefix, (source, target) in zip(inputs, files, strict=True)
            for chunk in read_chunks(source, target, str(prefix))
        )
        if duplicates is None:
            _apply_rules(chunks, unique, report, None, options)
        else:
            kept = [folder / f"kept.{language}" for language in languages]
            with contextlib.ExitStack() as stack:
                passed = [stack.enter_context(path.open("wb")) for path in kept]
                _apply_rules(chunks, passed, report, duplicates, options)
            _leave_out(duplicates.repeated(), kept, unique, report)
        if not report.kept.total():
            read, why = report.read.total(), report.removed()
            raise UserError(f"no pair is left of {read:,}{'; removed: ' * bool(why)}{why}")
    return report


def _removals(options: Options) -> dict[str, str]:
    rules = options.limits.describe()
    if options.foreign is None:
        del rules["language"]
    if options.keep_duplicates:
        del rules["duplicate"]
    return rules


def _lock(folder: Path) -> int | None:
    """Make the folder and lock it, None if another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


@contextlib.contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A folder beside the output, removed at the end; what an earlier try has left is removed."""
    folder = out.with_name(f".{out.name}.cleaning")
    start = time.monotonic()
    while (lock := _lock(folder)) is None:
        if time.monotonic() - start > _ENDING:
            raise UserError(f"another process is cleaning into {out}: wait for its end")
        time.sleep(0.1)
    try:
        for left in folder.iterdir():
            left.unlink()
        yield folder
    except OSError as error:
        if error.filename is None or str(error.filename).startswith(f"{folder}/"):
            error.filename = str(out)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def clean_chunk(chunk: Chunk, options: Options) -> Cleaned:
    """Apply the rules to each pair."""
    done = Cleaned(chunk.name, len(chunk.source))
    sources, targets, digests = [], [], []
    for place, (source, target) in enumerate(zip(chunk.source, chunk.target, strict=True)):
        pair = judge(source, target, options.limits, options.foreign)
        if pair.changed or pair.removed:
            where = f"{chunk.name}, line {chunk.first + place}"
            if pair.changed:
                for rule in pair.changed:
                    done.tally.note(rule, where, source.decode(), target.decode())
            if pair.removed:
                done.tally.note(pair.removed, where, pair.source, pair.target)
                continue
        sources.append(pair.source)
        targets.append(pair.target)
        if not options.keep_duplicates:
            digests.append(digest(f"{pair.source}\n{pair.target}"))
    done.kept = len(sources)
    done.source, done.target = _joined(sources), _joined(targets)
    done.digests = b"".join(digests)
    return done


def _joined(lines: list[str]) -> bytes:
    return "".join([f"{line}\n" for line in lines]).encode()


def _apply_rules(
    chunks: Iterator[Chunk],
    kept: Sequence[IO[bytes]],
    report: Report,
    duplicates: Duplicates | None,
    options: Options,
) -> None:
    """Write the pairs that pass, their hashes and the counts."""
    source, target = kept
    cleaned = ordered_map(lambda chunk: clean_chunk(chunk, options), chunks, options.workers)
    with Progress("clean", "pairs read") as progress, contextlib.closing(cleaned) as done:
        for part in done:
            source.write(part.source)
            target.write(part.target)
            if duplicates is not None:
                duplicates.add(part.digests)
            report.tally.add(part.tally)
            report.read[part.name] += part.read
            report.kept[part.name] += part.kept
            progress.add(part.read, f"{report.kept.total():,} kept")


def _leave_out(
    repeated: Iterator[list[bool]],
    kept: Sequence[Path],
    unique: Sequence[IO[bytes]],
    report: Report,
) -> None:
    """Copy the pairs that are not repeated."""
    names = list(report.kept)
    ends: list[int] = []  # of the inputs, in pairs
    for name in names:
        ends.append(report.kept[name] + (ends[-1] if ends else 0))
    with contextlib.ExitStack() as stack:
        pairs = "pairs compared with those before"
        progress = stack.enter_context(Progress("clean", pairs, ends[-1]))
        sides = [stack.enter_context(path.open("rb")) for path in kept]
        write_source, write_target = (out.write for out in unique)
        number = 0
        for flags in repeated:
            # The flags come first: zip asks no file for a line when they are at their end.
            for flag, source, target in zip(flags, *sides, strict=False):
                if flag:
                    name = names[bisect.bisect_right(ends, number)]
                    report.kept[name] -= 1
                    texts = (side.decode().rstrip("\n") for side in (source, target))
                    report.tally.note("duplicate", name, *texts)
                else:
                    write_source(source)
                    write_target(target)
                number += 1
            progress.add(len(flags))
