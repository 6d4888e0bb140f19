"""The command line: ``python -m nmt_moe.runs.claims collect|show|machine|peak``."""

import argparse
import json
import sys
from pathlib import Path

from nmt_moe.common.errors import exit_code
from nmt_moe.common.files import atomic_write
from nmt_moe.runs.claims.machine import machine, peak
from nmt_moe.runs.claims.results import collect, show
from nmt_moe.runs.claims.tables import FIGURES


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(
        prog="python -m nmt_moe.runs.claims",
        description="Logs, table and picture of a claim, from the trainings of recipes/claims.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command_name")
    one = commands.add_parser("collect", help="from a run's folder into one of results")
    one.add_argument("claim", choices=FIGURES)
    one.add_argument("run", type=Path, help="the run's folder, such as data/claims/capacity")
    one.add_argument("--out", type=Path, required=True, help="the folder of the results")
    one.add_argument("--cells", nargs="+", required=True, help="all of the grid, in its order")
    one.add_argument("--command", required=True, help="what was typed")
    two = commands.add_parser("show", help="table and picture anew, from the results' logs")
    two.add_argument("out", type=Path, metavar="RESULTS", help="a folder with run.json and logs")
    commands.add_parser("machine", help="what runs here, as JSON")
    three = commands.add_parser("peak", help="run a command and note the memory it needs")
    three.add_argument("file", type=Path, help="where to write it")
    three.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    args = parser.parse_args(arguments)
    if args.command_name == "peak":
        code, size = peak(args.words)
        with atomic_write([args.file]) as [file]:
            file.write(f"{size}\n")
        return code

    def run() -> None:
        if args.command_name == "machine":
            print(json.dumps(machine()))
            return
        if args.command_name == "collect":
            number = collect(args.claim, args.run, args.out, args.cells, args.command)
        else:
            number = show(args.out)
        print((args.out / "table.md").read_text(encoding="utf-8"), end="")
        print(f"{number} trainings in {args.out}")

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
