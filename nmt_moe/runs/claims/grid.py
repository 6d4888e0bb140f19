"""A claim's grid of trainings: the table in ``recipes/claims/NAME.toml``, and the run of it.

The table has ``settings``, which the environment may have other values of; ``options``, texts of
options that others name in braces, of which ``common`` are those of all cells; and ``cells``. In
the texts there are the settings, too, and ``QUARTER``, ``EIGHTH`` and ``HALF`` of ``UPDATES``,
and ``LOG``, an interval between two lines of the log. Cells that ``timed`` names are trained for as
many updates as this machine makes of them in ``MINUTES``, which is measured before. With ``peak``
the memory of the trainings is measured, and its speed; ``searches`` name those that translate the
tests.
"""

import os
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.runs import commands
from nmt_moe.runs.folder import Run
from nmt_moe.runs.steps import ROOT, Stage, into

_WARMUP = 500  # updates at the most
Train = Callable[[Stage, Sequence[str]], None]
"""What one training of a grid is, with the options of its cell."""


@dataclass
class Grid:
    """A claim, as its table and the environment have it."""

    claim: str
    settings: dict[str, str]
    common: list[str]
    cells: dict[str, list[str]]
    """The options of those that are wanted."""
    all_cells: list[str]
    seeds: list[str]
    jobs: int
    run: Run
    results: Path
    environment: dict[str, str]
    peak: bool
    """Whether the memory of a training is measured, and how fast this machine's is."""
    searches: list[str]
    """With which the tests are translated."""
    timed: list[str]
    """The cells whose trainings take as long as each other."""

    @classmethod
    def read(cls, table: Path, environment: Mapping[str, str], extra: Sequence[str]) -> "Grid":
        """Of a table; ``extra`` are options for all trainings.

        Raises:
            UserError: the environment has something else than it may.
        """
        content = tomllib.loads(table.read_text("utf-8"))
        given = {name: environment.get(name) or "" for name in ("CELLS", "SEEDS", "JOBS")}
        settings = {name: environment.get(name) or v for name, v in content["settings"].items()}
        values = settings | _derived(settings)
        for name, text in content["options"].items():
            values[name] = text.format_map(values)
        every = {
            name: shlex.split(text.format_map(values)) for name, text in content["cells"].items()
        }
        wanted = given["CELLS"].split() or [*every]
        for name in wanted:
            if name not in every:
                raise UserError(f"unknown cell '{name}': choose from {' '.join(every)}")
        seeds = given["SEEDS"].split() or ["1", "2", "3"]
        for seed in seeds:
            if not re.fullmatch("[0-9]+", seed):
                raise UserError(f"SEEDS={' '.join(seeds)}: '{seed}' is no seed")
        jobs = given["JOBS"] or "1"
        if not re.fullmatch("[1-9][0-9]*", jobs):
            raise UserError(f"JOBS={jobs} is no number of trainings")
        folder = Path(environment.get("RUN_DIR") or ROOT / "data/claims" / table.stem).absolute()
        results = Path(environment.get("RESULTS") or folder / "results").absolute()
        node = int(environment.get("NODE_RANK") or 0)
        return cls(
            table.stem, settings, shlex.split(values["common"]),
            {name: every[name] for name in wanted}, [*every], seeds, int(jobs),
            Run(folder, table.stem, node), results,
            {**environment, "TRAIN_OPTIONS": "\n".join(extra)}, bool(content.get("peak")),
            content.get("searches", []), content.get("timed", []),
        )  # fmt: skip

    def open(self, clean: bool, *about: str) -> None:
        """Make or reopen the run's folder, and lock it; ``about`` are settings of the text.

        Raises:
            UserError: it cannot be used, or was made with others.
        """
        extra = self.environment["TRAIN_OPTIONS"].split("\n")
        given = [f"vocabulary={self.settings['VOCABULARY']}", f"common={' '.join(self.common)}"]
        self.run.open([*about, *given, f"extra={' '.join(extra)}"], clean)
        self.run.lock()

    def stage(self, name: str, after: str | None, *steps: Sequence[str]) -> None:
        """A stage before the grid."""
        self.run.stage(name, lambda folder: self._stage(folder).do(steps), after)

    def _stage(self, folder: Path, **environment: str) -> Stage:
        return Stage(self.run, folder, self.environment | environment)

    def train(self, training: Train, command: str) -> None:
        """All cells with one seed, then with the next; the results are collected after each.

        Raises:
            UserError: a cell was trained with other options than it has now.
        """
        for name, options in self.cells.items():
            for seed in self.seeds:
                self._check(self.run.path / f"{name}-{seed}" / "options", " ".join(options))
        for name in self.cells:
            if name in self.timed:
                self._measure(name)
        left = dict.fromkeys(self.seeds, len(self.cells))
        pool = ThreadPoolExecutor(self.jobs)
        seeds = {
            pool.submit(self._cell, name, seed, training): seed
            for seed in self.seeds
            for name in self.cells
        }
        try:
            for future in as_completed(seeds):
                future.result()
                left[seeds[future]] -= 1
                if not left[seeds[future]] and self.run.node == 0:
                    self._collect(command)
        finally:
            pool.shutdown(cancel_futures=True)

    def _collect(self, command: str) -> None:
        commands.call([
            "python", "-m", "nmt_moe.runs.claims", "collect", self.claim, str(self.run.path),
            "--out", str(self.results), "--cells", *self.all_cells, "--command", command,
        ])  # fmt: skip

    def _check(self, noted: Path, options: str) -> None:
        there = noted.read_text("utf-8").strip() if noted.is_file() else ""
        if there and there != options:
            raise UserError(
                f"{noted.parent} was made with {there}, now it is {options}: remove it, or use "
                "another RUN_DIR"
            )

    def _measure(self, name: str) -> None:
        """How many updates of a cell this machine makes in ``MINUTES``, one training at a time."""
        time, options = f"{self.settings['MINUTES']}m", self.cells[name]
        noted = f"{time} {' '.join(options)}"
        self._check(self.run.path / f"updates-{name}" / "given", noted)

        def work(folder: Path) -> None:
            with atomic_write([folder / "given"]) as [file]:
                file.write(f"{noted}\n")
            stage = self._stage(folder, SEED=self.seeds[0])
            stage.do([["updates", time, *self.common, *options]])

        self.run.stage(f"updates-{name}", work, "binary")

    def _schedule(self, name: str) -> list[str]:
        """The length of a cell's training, where it was measured."""
        if name not in self.timed:
            return []
        updates = int((self.run.path / f"updates-{name}/updates").read_text("utf-8"))
        warmup = min(updates // 10, _WARMUP)
        return ["--max-update", str(updates), "--warmup-updates", str(warmup)]

    def _cell(self, name: str, seed: str, training: Train) -> None:
        options = self.cells[name]

        def join(folder: Path) -> None:
            training(self._stage(folder, SEED=seed), [*options, *self._schedule(name)])

        def work(folder: Path) -> None:
            with atomic_write([folder / "options"]) as [file]:
                file.write(f"{' '.join(options)}\n")
            machine = ["python", "-m", "nmt_moe.runs.claims", "machine"]
            into(self._stage(folder), "machine.json", *machine, *["--bandwidth"] * self.peak)
            join(folder)

        self.run.stage(f"{name}-{seed}", work, "binary", join)

    def typed(self, *words: str) -> str:
        """The command: what the environment sets and the recipe, without this machine's folders.

        With the cells, seeds and jobs also where they are the default.
        """
        chosen = {"CELLS": [*self.cells], "SEEDS": self.seeds, "JOBS": [str(self.jobs)]}
        chosen |= {name: self.environment.get(name, "").split() for name in self.settings}
        texts = []
        for name, words_of in chosen.items():
            given = [os.path.basename(word) for word in words_of]
            if given:
                texts.append(f'{name}="{" ".join(given)}"' if given[1:] else f"{name}={given[0]}")
        return " ".join([*texts, f"recipes/claims/{self.claim}.sh", *map(os.path.basename, words)])


def _derived(settings: Mapping[str, str]) -> dict[str, str]:
    try:
        updates = int(settings["UPDATES"])
    except ValueError:
        raise UserError(f"UPDATES={settings['UPDATES']} is no number") from None
    numbers = {"QUARTER": updates // 4 + 1, "EIGHTH": updates // 8 + 1}
    numbers |= {"HALF": max(1, updates // 2), "LOG": 100 if updates > 100 else 1}
    minutes = settings.get("MINUTES", "0")
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", minutes):
        raise UserError(f"MINUTES={minutes} is no number")
    return {name: str(number) for name, number in numbers.items()}
