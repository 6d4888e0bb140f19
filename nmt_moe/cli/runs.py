"""``nmt-moe runs``: the folder of a run, RUN_DIR, for the recipe that works on it, RECIPE."""

import io
import os
import sys
from argparse import REMAINDER
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, switch
from nmt_moe.common.ranges import integers
from nmt_moe.runs.commands import exit_code
from nmt_moe.runs.folder import Run


def _of_recipe(work: Callable[[Run], object]) -> int:
    run = Run.of(os.environ)
    return exit_code(run.recipe, lambda: work(run))


@dataclass(kw_only=True)
class Open(Command):
    """Make the folder of a run, RUN_DIR of the environment; or check that it has these settings."""

    clean: bool = switch("remove the run that is there")
    settings: list[str] = positional("a setting of the run", "NAME=VALUE")

    def run(self) -> int:
        return _of_recipe(lambda run: run.open(self.settings, self.clean))


@dataclass(kw_only=True)
class Lock(Command):
    """Lock RUN_DIR, the folder of a run, against other recipes: as long as a process has the open
    file.
    """

    number: int = positional(
        "the number under which the calling shell has opened RUN_DIR/.lock", "N", integers(0)
    )

    def run(self) -> int:
        return _of_recipe(lambda run: run.lock(self.number))


@dataclass(kw_only=True)
class Stage(Command):
    """Run the steps of a stage of RUN_DIR, unless it is done. A STEP is a command, or one of
    nmt_moe/runs/steps.py.
    """

    usage = "nmt-moe runs stage NAME [--after STAGE] STEP... [--then STEP...]..."

    name: str = positional("the stage, a folder in RUN_DIR", "NAME")
    words: list[str] = positional("the stage before it, and the steps", "STEP", nargs=REMAINDER)

    def run(self) -> int:
        from nmt_moe.runs.steps import stage

        return _of_recipe(lambda run: stage(run, os.environ, self.name, self.words))


@dataclass(kw_only=True)
class Step(Command):
    """Run a step without a stage, in RUN_DIR."""

    words: list[str] = positional("as in a stage", "STEP", nargs=REMAINDER)

    def run(self) -> int:
        from nmt_moe.runs.steps import Stage as Steps

        return _of_recipe(lambda run: Steps(run, run.path, os.environ).do([self.words]))


@dataclass(kw_only=True)
class Table(Command):
    """Write the output of a command to RUN_DIR/table.md, and print it."""

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
        from nmt_moe.runs.testset import find

        lines = "".join(f"{field}\n" for field in astuple(find(self.checkpoint, self.testset)))
        sys.stdout.buffer.write(os.fsencode(lines))  # a path has to be the same for who reads it


@dataclass(kw_only=True)
class Summary(Command):
    """Summarise the run of a recipe: scores, seconds, balance of the experts, five sentences."""

    folder: Path = positional("the run's folder, for example data/quickstart-de", "RUN")
    record: Path | None = option(
        None,
        "also write settings, machine, commit, seconds and scores to this file, as JSON",
        metavar="FILE",
    )

    def run(self) -> None:
        from nmt_moe.report import record
        from nmt_moe.report.summary import summary

        if self.record:
            record.write(self.folder, self.record)
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
