"""``nmt-moe runs``: the folder of a run, RUN_DIR, for the recipe that works on it, RECIPE."""

import io
import os
import sys
from argparse import REMAINDER
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, positional, switch
from nmt_moe.common.ranges import integers
from nmt_moe.runs.commands import exit_code
from nmt_moe.runs.folder import Run


def _of_recipe(work: Callable[[Run], object]) -> int:
    run = Run.of(os.environ)
    return exit_code(run.recipe, lambda: work(run))


@dataclass(kw_only=True)
class Open(Command):
    """Make the folder of a run, or look whether it was made with these settings."""

    clean: bool = switch("remove what is there")
    settings: list[str] = positional("what it is made with", "NAME=VALUE")

    def run(self) -> int:
        return _of_recipe(lambda run: run.open(self.settings, self.clean))


@dataclass(kw_only=True)
class Lock(Command):
    """Let no other recipe work in the folder as long as somebody has this file open."""

    number: int = positional("that of the open file .lock in the folder", allowed=integers(0))

    def run(self) -> int:
        return _of_recipe(lambda run: run.lock(self.number))


@dataclass(kw_only=True)
class Stage(Command):
    """Do a stage unless it is done: nmt_moe/runs/steps.py has the steps."""

    usage = "nmt-moe runs stage NAME [--after STAGE] STEP... [--then STEP...]..."

    name: str = positional("that of its folder")
    words: list[str] = positional("the stage before it, and the steps", "STEP", nargs=REMAINDER)

    def run(self) -> int:
        from nmt_moe.runs.steps import stage

        return _of_recipe(lambda run: stage(run, os.environ, self.name, self.words))


@dataclass(kw_only=True)
class Step(Command):
    """Do a step without a stage, in the folder of the run."""

    words: list[str] = positional("as of a stage", "STEP", nargs=REMAINDER)

    def run(self) -> int:
        from nmt_moe.runs.steps import Stage as Steps

        return _of_recipe(lambda run: Steps(run, run.path, os.environ).do([self.words]))


@dataclass(kw_only=True)
class Table(Command):
    """Write what a command prints into the file table.md of the run, and show it."""

    words: list[str] = positional("the command", "COMMAND", nargs=REMAINDER)

    def run(self) -> int:
        from nmt_moe.runs.steps import table

        return _of_recipe(lambda run: table(run, self.words))


@dataclass(kw_only=True)
class Progress(Command):
    """Shorten the output of fairseq-train --log-format json (a filter)."""

    def run(self) -> None:
        from nmt_moe.runs.progress import follow

        # A log is UTF-8, but for what libraries print.
        log = io.TextIOWrapper(sys.stdin.buffer, "utf-8", "backslashreplace")
        for line in follow(log):
            print(line, flush=True)


@dataclass(kw_only=True)
class Testset(Command):
    """Find what a checkpoint is scored with: prints its source language, its target language, the
    path of the test set without .LANGUAGE, and the test set's name.
    """

    checkpoint: Path = positional("a file in the folder of a training", "CHECKPOINT")
    testset: str | None = positional(
        "full or filtered, of WMT'14, or PREFIX of the files PREFIX.LANGUAGE (default: the test "
        "set of the prepared corpus)",
        "TESTSET",
        nargs="?",
    )

    def run(self) -> None:
        from nmt_moe.trained.testset import find

        lines = "".join(f"{field}\n" for field in astuple(find(self.checkpoint, self.testset)))
        sys.stdout.buffer.write(os.fsencode(lines))  # a path has to be the same for who reads it


@dataclass(kw_only=True)
class Summary(Command):
    """Summarise the run of a recipe: scores, seconds, balance of the experts, five sentences."""

    folder: Path = positional("the run's folder, for example data/quickstart-de", "RUN")

    def run(self) -> None:
        from nmt_moe.report.summary import summary

        for line in summary(self.folder):
            print(line)


@dataclass(kw_only=True)
class Series(Command):
    """Compare the trainings of a run, each of which has a folder named after it in there."""

    table: str = positional("what to print", choices=("language-models", "gatings"))
    folder: Path = positional("the run's folder, for example data/lm", "RUN")
    names: list[str] = positional("folders of trainings in it", "NAME")

    def run(self) -> None:
        from nmt_moe.report import series

        table = series.gatings if self.table == "gatings" else series.language_models
        print("\n".join(table(self.folder, self.names)))


@dataclass(kw_only=True)
class Multilingual(Command):
    """Print the BLEU of each pair of languages of a multilingual run."""

    folder: Path = positional("the run's folder, for example data/multilingual", "RUN")
    pairs: list[str] = positional("as for nmt-moe corpus multilingual", "PAIR=FOLDER")

    def run(self) -> None:
        from nmt_moe.corpus.multilingual.pairs import parse_pairs
        from nmt_moe.report.multilingual import table

        print("\n".join(table(self.folder, parse_pairs(self.pairs))))
