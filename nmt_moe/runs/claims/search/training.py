"""A training of a search: a setting with a seed, rung after rung, and the logs of it.

The log of a rung has what ``fairseq-train`` printed, and lines of this module: one where a try
begins, one where it ends. A try that was killed has no end, and goes on from its last checkpoint;
of an update that two tries have made, the validation of the second one counts.
"""

import json
import math
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nmt_moe.common import logged
from nmt_moe.runs import commands
from nmt_moe.runs.claims.search.space import METRICS, Setting, Space
from nmt_moe.runs.steps import PLUGIN
from nmt_moe.runs.training_log import record

STOP_AFTER = "NMT_MOE_STOP_AFTER"
"""See :mod:`nmt_moe.fairseq_fixes.first_part`, which is not imported for its name: it takes
seconds."""
BEGINS, ENDS, FAILS, STOPS = "begins", "ends", "fails", "stops"
MARK = re.compile(rf"claims search ({BEGINS}|{ENDS}|{FAILS}|{STOPS}) (\{{.*\}})\n")
"""A line of this module: what happened, and a JSON object with its time."""
_DATED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?= \|)")
_DONE = " | done training in "
"""What fairseq says last."""
_MAY_END_BEFORE = ("--patience", "--max-epoch", "--stop-min-lr", "--stop-time-hours")
_PATHS = re.compile(r"(?<![\w.:/])/(?:[^\s/'\":]+/)+")
_TAIL = 10_000  # bytes of a log in which its last figures are
_SHORT = 300  # characters of an error


@dataclass(frozen=True)
class Result:
    """What a training has reached at the end of a rung."""

    updates: int
    """Of all rungs so far."""
    seconds: float
    """In this rung, all tries together."""
    best_update: int
    """After which the validation is best; the figures are of that one."""
    figures: dict[str, float]
    error: str = ""


@dataclass
class _Try:
    began: float
    last: float
    mark: str = BEGINS
    error: str = ""
    done: bool = False
    """Whether fairseq has said that it is."""


class Training:
    """A training until the end of a rung.

    Args:
        space: the search.
        setting: its setting.
        seed: its seed.
        rung: from 1.
        folder: of the search.
    """

    def __init__(self, space: Space, setting: Setting, seed: int, rung: int, folder: Path) -> None:
        self.space, self.setting, self.seed, self.rung = space, setting, seed, rung
        self._search = folder
        self.folder = folder / "trained" / f"{setting.number}-{seed}"
        self.began: float | None = None
        """When the try in progress did, by the monotonic clock."""

    def __str__(self) -> str:
        return f"{self.setting}, seed {self.seed}"

    def log(self, rung: int | None = None) -> Path:
        """Of this rung or another one."""
        return self.folder / f"{rung or self.rung}.log"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / f"{self.rung}" if self.space.anew else self.folder

    @property
    def budget(self) -> float:
        """Updates or minutes, all rungs so far together."""
        return self.space.budgets[self.rung - 1]

    @cached_property
    def options(self) -> list[str]:
        """Of ``fairseq-train``."""
        given = ["--seed", str(self.seed), "--no-epoch-checkpoints"]
        given += ["--log-format", "json", "--log-interval", "50"]
        last = self.budget if self.space.anew else self.space.budgets[-1]
        if self.space.unit == "updates":
            last = self.budget if self.space.anew else self.space.budgets[-1]
            end = ["--max-update", str(last)]
        else:  # fairseq counts the hours of all tries together
            end = ["--stop-time-hours", f"{self.budget / 60:.6g}"]
        return [*given, *self.space.base, *self.setting.options, *end]

    @property
    def command(self) -> str:
        """As one would type it beside the data and this package, without the machine's folders."""
        words = ["fairseq-train", self.setting.data, "--user-dir", "nmt_moe", *self.options]
        stop = "".join(f"{name}={value} " for name, value in self._environment().items())
        return stop + without_folders(shlex.join(words))

    def _environment(self) -> dict[str, str]:
        cut = self.space.unit == "updates" and not self.space.anew
        cut = cut and self.rung < len(self.space.budgets)
        return {STOP_AFTER: f"{self.budget}"} if cut else {}

    def train(self, threads: int) -> None:
        """Do what there is to do; a failure is in the log.

        Raises:
            Failed: it was stopped.
        """
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        tries, _ = self._read(self.rung)
        if tries and tries[-1].mark == BEGINS and tries[-1].done:  # killed after its last word
            self._mark(ENDS, time=tries[-1].last)
            return
        place = self.space.data.index(self.setting.data)
        words = ["fairseq-train", str(self._search / "data" / str(place)), *PLUGIN]
        words += ["--save-dir", str(self.checkpoints), *self.options]
        variables = commands.environment() | {"OMP_NUM_THREADS": str(threads)}
        variables.pop(STOP_AFTER, None)  # of the one who searches
        variables |= self._environment()
        self._mark(BEGINS, time=time.time(), command=self.command)
        self.began = time.monotonic()
        try:
            # Written by the program itself: what it has said is there, whatever becomes of us.
            with self.log().open("ab") as log:
                commands.call(words, stdout=log, stderr=log, env=variables, **commands.apart())
        except commands.Failed as error:
            if error.code == commands.STOPPED or commands.told_to_stop():
                self._mark(STOPS, time=time.time())
                raise
            self._mark(FAILS, time=time.time(), error=self._why(error.code))
        else:
            self._mark(ENDS, time=time.time())

    def result(self) -> Result | None:
        """As the logs have it; None: it is not at the end of the rung."""
        tries, validations = self._read(self.rung)
        if not tries or tries[-1].mark not in (ENDS, FAILS):
            return None
        seconds = sum(max(0.0, one.last - one.began) for one in tries)
        if not self.space.anew:
            for rung in range(self.rung - 1, 0, -1):
                validations = self._read(rung)[1] | validations
        updates = max(validations, default=0)
        error = tries[-1].error or self._missing(validations)
        known = {
            update: figures
            for update, figures in validations.items()
            if math.isfinite(figures.get(self.space.metric, math.nan))
        }
        if error or not known:
            return Result(updates, seconds, 0, {}, error or self._no_figure(validations))
        sign = -1 if self.space.higher else 1
        best = min(known, key=lambda update: sign * known[update][self.space.metric])
        return Result(updates, seconds, best, known[best])

    def _missing(self, validations: dict[int, dict[str, float]]) -> str:
        """What a log lacks that has an end, as where the disk was full."""
        if not validations:
            return f"{self.log().name} has no validation"
        if self.space.unit == "minutes" or any(word in self.options for word in _MAY_END_BEFORE):
            return ""
        last = max(validations)
        if last >= self.budget:
            return ""
        return f"{self.log().name} ends with the validation after {last} of {self.budget} updates"

    def _no_figure(self, validations: dict[int, dict[str, float]]) -> str:
        metric = self.space.metric
        there = any(metric in figures for figures in validations.values())
        return f"no validation has {'a finite' * there or 'a'} {metric}"

    def done(self) -> float:
        """How much of the rung's budget the try in progress has spent, from its log."""
        if self.began is None:
            return 0.0
        if self.space.unit == "minutes":
            return (time.monotonic() - self.began) / 60
        try:
            with self.log().open("rb") as log:
                log.seek(max(0, log.seek(0, 2) - _TAIL))
                lines = log.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return 0.0
        name = logged.UPDATES
        found = [
            float(figures.get(f"{split}{name}") or 0)
            for figures in map(record, lines)
            if figures
            for split in ("", "train_", "valid_")
        ]
        before = 0 if self.space.anew or self.rung == 1 else self.space.budgets[self.rung - 2]
        return max(0.0, max(found, default=0.0) - before)

    def _read(self, rung: int) -> tuple[list[_Try], dict[int, dict[str, float]]]:
        """The tries of a rung, and the figures of its validations by update."""
        tries: list[_Try] = []
        validations: dict[int, dict[str, float]] = {}
        for line in _lines(self.log(rung)):
            mark = MARK.fullmatch(line)
            if mark is not None:
                content = json.loads(mark[2])
                if mark[1] == BEGINS:
                    tries.append(_Try(content["time"], content["time"]))
                elif tries:
                    tries[-1].mark, tries[-1].last = mark[1], content["time"]
                    tries[-1].error = content.get("error", "")
                continue
            dated = _DATED.match(line)
            if tries and dated:
                local = time.strptime(dated[0], "%Y-%m-%d %H:%M:%S")
                tries[-1].last = max(tries[-1].last, time.mktime(local))
                tries[-1].done |= _DONE in line
            found = _validation(line)
            if found is not None:
                validations[found[0]] = found[1]
        return tries, validations

    def _mark(self, kind: str, **content: Any) -> None:
        log = self.log()
        with log.open("ab+") as file:
            # A line that was cut by a kill ends here.
            cut = file.tell() > 0 and (file.seek(-1, 2), file.read(1))[1] != b"\n"
            file.write(f"{chr(10) * cut}claims search {kind} {json.dumps(content)}\n".encode())

    def _why(self, code: int) -> str:
        """The line that says why a try failed."""
        lines: list[str] = []
        for line in _lines(self.log()):
            mark = MARK.fullmatch(line)
            lines = [] if mark and mark[1] == BEGINS else [*lines[-50:], line]
        said = [line.strip() for line in lines if line.strip()]
        if code > 128 and commands.error_of(said) is None:
            return f"ended by signal {code - 128}" + (
                ", as where memory is short" if code == 137 else ""
            )
        text = commands.error_of(said) or (said[-1] if said else f"ended with {code}")
        return " ".join(without_folders(text).split())[:_SHORT]


def _lines(path: Path) -> Iterator[str]:
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            yield from file


def _validation(line: str) -> tuple[int, dict[str, float]] | None:
    """The update and the figures of a whole line about a validation."""
    figures = record(line) if line.endswith("\n") else None
    if figures is None or logged.of_split("valid", logged.LOSS) not in figures:
        return None
    found = {}
    for metric in METRICS:
        value = figures.get(logged.of_split("valid", metric))
        if value is not None:
            found[metric] = float(value)
    return int(figures[logged.of_split("valid", logged.UPDATES)]), found


def without_folders(text: str) -> str:
    """A text in which files are named without the folders of this machine."""
    return _PATHS.sub("", text)
