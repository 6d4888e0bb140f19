"""``nmt-moe checkpoint``: merge, split and average checkpoints, see what is in them."""

import json
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, required, switch
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import beside
from nmt_moe.common.ranges import integers


@dataclass(kw_only=True)
class Merge(Command):
    """Make one complete checkpoint of parts, with the optimizer's state, for any command and to go
    on from on any number of processes. It is put together on the disk, which needs room for it
    and, until it is done, for its experts once more. Memory need not hold it: its tensors stay in
    files that torch.save reads from.
    """

    parts: list[str] = positional(
        "the parts (those of the first team are enough), or the name they have in common, such as "
        "save_dir/checkpoint_last",
        "PART",
    )
    out: str = required("the complete checkpoint", metavar="FILE")
    force: bool = switch("replace files that are there")

    def run(self) -> None:
        from nmt_moe.checkpoint.convert import merge

        merge(self.parts, self.out, self.force)


@dataclass(kw_only=True)
class Split(Command):
    """Make the parts for a training on a number of processes of a complete checkpoint. No more than
    one part is in memory at a time.
    """

    file: str = positional("a complete checkpoint", "FILE")
    parts: int = required("the number of processes", integers(2))
    moe_expert_parallel_size: int = option(
        0,
        "what the training is given: processes that share the experts (default: 0, as many as "
        "divide both)",
        integers(0),
    )
    out: str = required(
        "what the names of the parts begin with: save_dir/checkpoint_last is where a training "
        "looks for them",
        metavar="NAME",
    )
    force: bool = switch("replace files that are there")

    def run(self) -> None:
        from nmt_moe.checkpoint.convert import split

        split(self.file, self.parts, self.out, self.moe_expert_parallel_size, self.force)


@dataclass(kw_only=True)
class Average(Command):
    """Make one checkpoint with the mean of the weights of several, for translation; without the
    optimizer's state. The rest is that of the one with most updates.
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
    out: str = required("the new checkpoint", metavar="FILE")
    force: bool = switch("replace files that are there")

    def run(self) -> None:
        from nmt_moe.checkpoint.average import average, last

        files = self.files
        if self.last is not None:
            if len(files) != 1:
                raise UserError("--last needs one folder")
            files = last(files[0], self.last)
        average(files, self.out, self.force)
        where = beside(Path(self.out))
        print(f"{self.out}: the mean of {len(files)}: {', '.join(files)}", file=where)


@dataclass(kw_only=True)
class Inspect(Command):
    """Show what a checkpoint or a part is."""

    file: str = positional("a checkpoint", "FILE")
    json: bool = switch("print it as one JSON object")

    def run(self) -> None:
        from nmt_moe.checkpoint.summary import summary, table

        found = summary(self.file)
        print(json.dumps(found, indent=2) if self.json else "\n".join(table(found)))
