"""``nmt-moe checkpoint``: merge, split and average checkpoints, see what is in them."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, required, switch
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import beside
from nmt_moe.common.ranges import integers


@dataclass(kw_only=True)
class Merge(Command):
    """Merge the parts of a checkpoint into a complete one, with the optimizer's state, which every
    command reads and from which any number of processes can resume. The disk needs space for the
    result and, meanwhile, for its experts once more. Tensors are memory-mapped, so they need not
    fit into memory.
    """

    parts: list[str] = positional(
        "the parts (those that hold every expert once are enough), or their common name, such as "
        "save_dir/checkpoint_last",
        "PART",
    )
    out: str = required("the complete checkpoint", metavar="FILE")
    force: bool = switch("replace existing files")

    def run(self) -> None:
        from nmt_moe.checkpoint.convert import merge

        merge(self.parts, self.out, self.force)


@dataclass(kw_only=True)
class Split(Command):
    """Split a complete checkpoint into the parts for a training on a number of processes. Only one
    part is in memory at a time.
    """

    file: str = positional("a complete checkpoint", "FILE")
    parts: int = required("the number of processes", integers(2))
    moe_expert_parallel_size: int = option(
        0,
        "the same option of the training: processes that share the experts (default: 0, the "
        "greatest common divisor of experts and processes, as on one machine)",
        integers(0),
    )
    out: str = required(
        "how the names of the parts begin: a training looks for save_dir/checkpoint_last",
        metavar="NAME",
    )
    force: bool = switch("replace existing files")

    def run(self) -> None:
        from nmt_moe.checkpoint.convert import split

        split(self.file, self.parts, self.out, self.moe_expert_parallel_size, self.force)


@dataclass(kw_only=True)
class Average(Command):
    """Average the weights of several checkpoints, which often improves translations. All else is
    that of the checkpoint with the most updates; the optimizer's state is left out.
    """

    files: list[str] = positional(
        "complete checkpoints of one model; with --last, the folder of a training", "FILE"
    )
    last: int | None = option(
        None,
        "the N newest by updates among checkpoint_EPOCH_UPDATES.pt, checkpointEPOCH.pt and "
        "checkpoint_last.pt of the folder; all if there are fewer",
        integers(1),
    )
    ema: bool = switch(
        "take the exponential moving average that fairseq-train --store-ema keeps in each file, in "
        "place of its weights; of one file this is the average itself"
    )
    out: str = required("the new checkpoint", metavar="FILE")
    force: bool = switch("replace existing files")

    def run(self) -> None:
        from nmt_moe.checkpoint.average import average, last

        files = self.files
        if self.last is not None:
            if len(files) != 1:
                raise UserError("--last needs one folder")
            files = last(files[0], self.last)
            if len(files) < self.last:
                there = f"{self.files[0]} has no more than {len(files)} of"
                print(f"{there} the {self.last} checkpoints that were asked for", file=sys.stderr)
        average(files, self.out, self.force, self.ema)
        where = beside(Path(self.out))
        what = "the moving averages of " if self.ema else ""
        print(f"{self.out}: the mean of {what}{len(files)}: {', '.join(files)}", file=where)


@dataclass(kw_only=True)
class Inspect(Command):
    """Show what a checkpoint or a part holds."""

    file: str = positional("a checkpoint", "FILE")
    json: bool = switch("print it as one JSON object")

    def run(self) -> None:
        from nmt_moe.checkpoint.summary import summary, table

        found = summary(self.file)
        print(json.dumps(found, indent=2) if self.json else "\n".join(table(found)))
