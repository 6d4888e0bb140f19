"""``nmt-moe claims``: logs, table and picture of a claim, from the trainings of recipes/claims."""

import json
import logging
import sys
from argparse import REMAINDER
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, required, switch
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.ranges import integers
from nmt_moe.runs.claims.tables import FIGURES


@dataclass(kw_only=True)
class Run(Command):
    """Train the cells of a grid that are not trained yet, and collect the results."""

    usage = "nmt-moe claims run TABLE [--clean] [FILE...] [-- FAIRSEQ_TRAIN_OPTIONS]"

    # In one: argparse would take a "--" after the table for its own.
    words: list[str] = positional(
        "a table, such as recipes/claims/capacity.toml, and what recipes/claims/*.sh take",
        "TABLE",
        nargs=REMAINDER,
    )

    def run(self) -> int:
        from nmt_moe.runs.claims.train import train
        from nmt_moe.runs.commands import exit_code

        if not self.words:
            raise UserError("name a table, such as recipes/claims/capacity.toml")
        table = Path(self.words[0])
        return exit_code(table.stem, lambda: train(table, self.words[1:]))


@dataclass(kw_only=True)
class Check(Command):
    """Test all claims of a checkout on the logs: ends with 1 where something does not follow."""

    root: Path | None = positional(
        "the checkout (default: the current folder)", "FOLDER", nargs="?"
    )
    write: bool = switch("write docs/results.md, if all claims follow")

    def run(self) -> int:
        from nmt_moe.runs.claims.statements.check import Statements, check

        root = self.root or Path()
        errors = check(root, self.write)
        for error in errors:
            print(f"error: {error}", file=sys.stderr)
        print(Statements(root).summary())
        return int(bool(errors))


@dataclass(kw_only=True)
class Show(Command):
    """Make the table and the picture anew, from the results' logs."""

    out: Path = positional("a folder with run.json and logs", "RESULTS")

    def run(self) -> None:
        from nmt_moe.runs.claims.results import show

        _print(show(self.out), self.out)


@dataclass(kw_only=True)
class Collect(Command):
    """Add the finished trainings of a run's folder to the results, and make these anew."""

    claim: str = positional("which one", choices=tuple(FIGURES))
    folder: Path = positional("the run's folder, such as data/claims/capacity", "RUN")
    out: Path = required("the folder of the results", metavar="FOLDER")
    cells: list[str] = required("all of the grid, in its order", metavar="CELL")
    command: str = required("what was typed")

    def run(self) -> None:
        from nmt_moe.runs.claims.collect import collect

        _print(collect(self.claim, self.folder, self.out, self.cells, self.command), self.out)


def _print(number: int, out: Path) -> None:
    print((out / "table.md").read_text(encoding="utf-8"), end="")
    print(f"{number} trainings in {out}")


@dataclass(kw_only=True)
class Gates(Command):
    """Measure why experts that are balanced in training are not where gates have no noise: the
    clean logits, the noise, and the load with shares of it, in gates.json, .md and .svg."""

    checkpoints: list[Path] = positional(
        "of one training, with noisy top-k gates", "CHECKPOINT", nargs="+"
    )
    data: Path = required("a folder of fairseq-preprocess", metavar="FOLDER")
    out: Path = required("where they go", metavar="FOLDER")
    split: str = option("valid", "of the data", choices=("train", "valid", "test"))
    limit: int = option(2000, "read the first N sentences only", integers(1))

    def in_own_process(self) -> None:
        """Leave out what fairseq says of its steps."""
        logging.getLogger("fairseq").setLevel(logging.WARNING)

    def run(self) -> None:
        from nmt_moe.report.gates import measure, write
        from nmt_moe.runs.claims.machine import machine

        found = [measure(path, self.data, self.split, self.limit) for path in self.checkpoints]
        about = {"split": self.split, "sentences": self.limit, "machine": machine()}
        write(found, about, self.out)
        print(f"wrote {self.out}/gates.json, .md and .svg of {len(found)} checkpoints")


@dataclass(kw_only=True)
class Machine(Command):
    """Print what runs here, as JSON."""

    bandwidth: bool = option(False, "measure the memory's, too, in GB/s")

    def run(self) -> None:
        from nmt_moe.runs.claims.machine import bandwidth, machine

        measured = {"bandwidth_gb": round(bandwidth(), 1)} if self.bandwidth else {}
        print(json.dumps(machine() | measured))


@dataclass(kw_only=True)
class Peak(Command):
    """Run a command and note the MiB of memory that it needs; ends with its exit code."""

    file: Path = positional("where to write them", "FILE")
    words: list[str] = positional("the command", "COMMAND", nargs=REMAINDER)

    def run(self) -> int:
        from nmt_moe.runs.claims.machine import peak

        code, size = peak(self.words)
        with atomic_write([self.file]) as [file]:
            file.write(f"{size}\n")
        return code
