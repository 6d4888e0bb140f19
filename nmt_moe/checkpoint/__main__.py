"""``python -m nmt_moe.checkpoint``: merge, split and average checkpoints, see what is in them."""

import argparse
import json
import sys
from pathlib import Path

from nmt_moe.checkpoint.average import average, last
from nmt_moe.checkpoint.convert import merge, split
from nmt_moe.checkpoint.summary import summary, table
from nmt_moe.common.errors import UserError, exit_code
from nmt_moe.common.files import beside
from nmt_moe.common.ranges import Parser, integers


def _arguments() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m nmt_moe.checkpoint",
        description="Checkpoints of trainings whose experts are spread over processes: with "
        "--moe-sharded-checkpoint each process writes its part, checkpoint_last-rank-0.pt and "
        "so on.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    text = (
        "make one complete checkpoint of parts, with the optimizer's state, for any command and "
        "to go on from on any number of processes"
    )
    command = commands.add_parser(
        "merge", help=text,
        description=f"{text[0].upper()}{text[1:]}. It is put together on the disk, which "
        "needs room for it and, until it is done, for its experts once more. Memory need not "
        "hold it: its tensors stay in files that torch.save reads from.",
    )  # fmt: skip
    command.add_argument(
        "parts", nargs="+", metavar="PART",
        help="the parts (those of the first team are enough), or the name they have in common, "
        "such as save_dir/checkpoint_last",
    )  # fmt: skip
    command.add_argument("--out", required=True, metavar="FILE", help="the complete checkpoint")
    _add_force(command)

    text = "make the parts for a training on a number of processes of a complete checkpoint"
    command = commands.add_parser(
        "split", help=text,
        description=f"{text[0].upper()}{text[1:]}. No more than one part is in memory at a time.",
    )  # fmt: skip
    command.add_argument("file", metavar="FILE", help="a complete checkpoint")
    command.add_argument(
        "--parts", type=integers(2), required=True, metavar="N", help="the number of processes"
    )
    command.add_argument(
        "--moe-expert-parallel-size", type=integers(0), default=0, metavar="N",
        help="what the training is given: processes that share the experts (default: 0, as many "
        "as divide both)",
    )  # fmt: skip
    command.add_argument(
        "--out", required=True, metavar="NAME",
        help="what the names of the parts begin with: save_dir/checkpoint_last is where a "
        "training looks for them",
    )  # fmt: skip
    _add_force(command)

    text = "make one checkpoint with the mean of the weights of several"
    command = commands.add_parser(
        "average", help=text,
        description=f"{text[0].upper()}{text[1:]}, for translation; without the optimizer's "
        "state. The rest is that of the one with most updates.",
    )  # fmt: skip
    command.add_argument(
        "files", nargs="+", metavar="FILE",
        help="complete checkpoints of one model; with --last, the folder of a training",
    )  # fmt: skip
    command.add_argument(
        "--last", type=integers(1), metavar="N",
        help="the N newest by updates among checkpoint_EPOCH_UPDATES.pt, checkpointEPOCH.pt and "
        "checkpoint_last.pt of the folder; all if there are fewer",
    )  # fmt: skip
    command.add_argument("--out", required=True, metavar="FILE", help="the new checkpoint")
    _add_force(command)

    text = "show what a checkpoint or a part is"
    command = commands.add_parser("inspect", help=text, description=f"{text.capitalize()}.")
    command.add_argument("file", metavar="FILE")
    command.add_argument("--json", action="store_true", help="print it as one JSON object")
    return parser


def _add_force(command: argparse.ArgumentParser) -> None:
    command.add_argument("--force", action="store_true", help="replace files that are there")


def main(arguments: list[str] | None = None) -> int:
    """The command line."""

    def run() -> None:
        args = _arguments().parse_args(arguments)
        if args.command == "merge":
            merge(args.parts, args.out, args.force)
        elif args.command == "split":
            split(args.file, args.parts, args.out, args.moe_expert_parallel_size, args.force)
        elif args.command == "average":
            files = args.files
            if args.last is not None:
                if len(files) != 1:
                    raise UserError("--last needs one folder")
                files = last(files[0], args.last)
            average(files, args.out, args.force)
            where = beside(Path(args.out))
            print(f"{args.out}: the mean of {len(files)}: {', '.join(files)}", file=where)
        elif args.json:
            print(json.dumps(summary(args.file), indent=2))
        else:
            print("\n".join(table(summary(args.file))))

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
