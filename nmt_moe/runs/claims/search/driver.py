"""The run of a search: all trainings of a rung, then the next rung with the best of them."""

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.progress import Progress, time_text
from nmt_moe.corpus.workers import all_threads
from nmt_moe.runs.claims.search import halving, table
from nmt_moe.runs.claims.search.space import Space, read
from nmt_moe.runs.claims.search.training import Result, Training
from nmt_moe.runs.commands import Failed
from nmt_moe.runs.folder import LOCK, Run

NAME = "nmt-moe claims search"
_SAVING = 60
"""Seconds in which trainings save whose search was killed."""
_LOOK = 0.5  # seconds between two looks at what runs
_SPLITS = re.compile(r"(?:train\d*|valid|dict)\.")
"""Beginnings of the files of binarised data that a search sees."""


def search(path: Path, folder: Path, jobs: int) -> None:
    """Train what is not trained yet, and write the tables.

    Args:
        path: the table of the space.
        folder: of the search; it is made, or goes on.
        jobs: trainings at a time.

    Raises:
        UserError: the folder is of another search, or all settings failed.
        Failed: it was stopped.
    """
    space = read(path)
    if ":" in str(folder):
        raise UserError(f"--out {folder}: fairseq reads a colon as the end of a path")
    views = {data: _files(data) for data in space.data}
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if there - {LOCK} and table.ABOUT not in there:
        raise UserError(f"--out {folder} holds other files: name an empty or a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    lock = Run(folder, NAME).lock(patience=_SAVING)
    try:
        about = _open(space, views, folder, threads(jobs))
        _search(space, folder, jobs, about)
    except Failed:
        print(f"{NAME}: stopped: the same command goes on from here", file=sys.stderr)
        raise
    finally:
        os.close(lock)


def threads(jobs: int) -> int:
    """Of each training: those of ``OMP_NUM_THREADS``, else the cores, divided by the trainings."""
    return max(1, all_threads() // jobs)


def _open(
    space: Space, views: Mapping[str, dict[Path, str]], folder: Path, each: int
) -> dict[str, Any]:
    """Make the search's folder, or see that it is of this one."""
    sums = {
        data: {path.name: checksum for path, checksum in files.items()}
        for data, files in views.items()
    }
    about = table.read_about(folder)
    if not about:
        from nmt_moe.runs.claims.machine import machine

        about = {"space": space.content, "data": sums, "machine": machine(), "threads": each}
        with atomic_write([folder / table.ABOUT]) as [file]:
            file.write(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    # As JSON has it.
    for name, now in (("space", space.content), ("data", sums)):
        was = about[name]
        # With the order: settings are numbered by it.
        changed = [
            key for key in {**was, **now} if json.dumps(was.get(key)) != json.dumps(now.get(key))
        ]
        if changed:
            raise UserError(
                f"{folder} is of a search with another {name} ({', '.join(changed)}): name "
                "another folder, --out"
            )
    for number, files in enumerate(views.values()):
        _link(files, folder / "data" / str(number))
    return about


def _files(data: str) -> dict[Path, str]:
    """Those of training and validation, with their checksums."""
    source = Path(data).absolute()
    if not source.is_dir():
        raise UserError(f"there is no folder {data}: data is what fairseq-preprocess wrote")
    files = sorted(path for path in source.iterdir() if _SPLITS.match(path.name))
    for split in ("train", "valid"):
        if not any(path.name.startswith(f"{split}.") for path in files):
            raise UserError(f"{data} has no {split} set: data is what fairseq-preprocess wrote")
    found = {}
    for path in files:
        with path.open("rb") as file:
            found[path] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _link(files: Iterable[Path], view: Path) -> None:
    view.mkdir(parents=True, exist_ok=True)
    for path in files:
        link = view / path.name
        if not link.is_symlink() or link.readlink() != path:
            link.unlink(missing_ok=True)
            link.symlink_to(path)


def _search(space: Space, folder: Path, jobs: int, about: Mapping[str, Any]) -> None:
    rows: list[table.Row] = []
    numbers, spent = [*space.settings], 0.0
    steps, seeds = halving.steps(space.budgets, space.anew), len(space.seeds)

    def note(training: Training, result: Result) -> None:
        rows.append(table.row(training, result))
        table.write(folder, rows, about)

    for rung, step in enumerate(steps, 1):
        total = spent + halving.cost(len(numbers), steps[rung - 1 :], space.eta, seeds)
        if rung == 1:
            print(f"{len(numbers):,} settings, at most {total:,.10g} {space.unit}", flush=True)
        trainings = [
            Training(space, space.settings[number], seed, rung, folder)
            for seed in space.seeds
            for number in numbers
        ]
        _train(trainings, jobs, step, (spent, total), note)
        spent += step * len(trainings)
        scores = {
            number: table.score(
                [one for one in rows if one["rung"] == rung and one["setting"] == number],
                space.metric,
            )
            for number in numbers
        }
        numbers = halving.kept(scores, space.eta, space.higher)
        if not numbers:
            raise UserError(f"all settings of rung {rung} failed: {folder / table.TABLE} says why")
        if rung < len(steps):
            print(f"rung {rung}: {len(numbers)} of {len(scores)} settings go on", flush=True)
    print((folder / table.TABLE).read_text("utf-8"), end="")


def _train(
    trainings: Sequence[Training],
    jobs: int,
    step: float,
    budget: tuple[float, float],
    note: Callable[[Training, Result], None],
) -> None:
    """Do all trainings of a rung.

    Args:
        trainings: in the order in which they begin.
        jobs: how many at a time.
        step: the budget of each in this rung.
        budget: what was spent before it, and that of the whole search.
        note: called for each that has ended, also where that was before.
    """
    new = []
    for training in trainings:
        result = training.result()
        if result is None:
            new.append(training)
        else:
            note(training, result)
    if not new:
        return
    ended = budget[0] + step * (len(trainings) - len(new))
    pool, unit = ThreadPoolExecutor(jobs), trainings[0].space.unit
    progress = Progress(
        "search", unit, max(1, round(budget[1])), done=round(ended), live=not sys.stdout.isatty()
    )
    running = {pool.submit(training.train, threads(jobs)): training for training in new}
    shown = round(ended)
    try:
        with progress:
            while running:
                wait(running, _LOOK, FIRST_COMPLETED)
                for future in [future for future in running if future.done()]:
                    training = running.pop(future)
                    future.result()
                    result = training.result()
                    if result is None:
                        raise UserError(f"{training.log()} has lost its end: is the disk full?")
                    note(training, result)
                    ended += step
                    print(
                        f"rung {training.rung}: {training}: {_said(training, result)}", flush=True
                    )
                now = ended + sum(min(step, one.done()) for one in running.values())
                left = f"rung {trainings[0].rung}, {len(running)} of {len(trainings)} to train"
                progress.add(max(0, round(now) - shown), left)
                shown = max(shown, round(now))
    finally:
        pool.shutdown(cancel_futures=True)


def _said(training: Training, result: Result) -> str:
    if result.error:
        return f"failed: {result.error}"
    metric = training.space.metric
    return (
        f"valid {metric} {result.figures[metric]:.10g} after {result.best_update:,} of "
        f"{result.updates:,} updates, {time_text(result.seconds)}"
    )
