"""``nmt-moe runs``: what the recipes ask about a run's folder."""

import io
import os
import sys
from dataclasses import astuple, dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, positional


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
