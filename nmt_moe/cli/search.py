"""``nmt-moe claims search`` and ``tried``: settings of a training, chosen by validation."""

import os
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, required
from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import integers


@dataclass(kw_only=True)
class Search(Command):
    """Find the best settings of a training among those of a table: a grid, some of it at random, or
    successive halving (Jamieson and Talwalkar 2016), by validation alone. Killed and run again, it
    goes on where it was. docs/training.md has an example.
    """

    space: Path = positional("a table of settings, such as search.toml", "SPACE")
    out: Path = required("the folder of the search", metavar="FOLDER")
    jobs: int | None = option(
        None,
        "trainings at a time, which share the cores, or OMP_NUM_THREADS (default: JOBS of the "
        "environment, else 1)",
        integers(1),
    )

    def run(self) -> int:
        from nmt_moe.runs.claims.search.driver import NAME, search
        from nmt_moe.runs.commands import exit_code

        jobs = self.jobs or _jobs()
        folder = self.out.absolute()
        return exit_code(NAME, lambda: search(self.space, folder, jobs), apart=True)


def _jobs() -> int:
    given = os.environ.get("JOBS") or "1"
    if not given.isdecimal() or int(given) not in integers(1):
        raise UserError(f"JOBS={given} is no number of trainings")
    return int(given)


@dataclass(kw_only=True)
class Tried(Command):
    """Print what a search has tried so far, the best first, with the spread over the seeds."""

    folder: Path = positional("of a search", "FOLDER")
    out: Path | None = option(
        None, "write tried.md and tried.jsonl there, too, such as results/search", metavar="RESULTS"
    )

    def run(self) -> None:
        from nmt_moe.runs.claims.search import table

        rows, about = table.read(self.folder)
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            table.write(self.out, rows, about)
        print("\n".join(table.shown(rows, about)))
