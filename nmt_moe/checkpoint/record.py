"""A checkpoint as a record: what every command reads of its file, and whether it is complete."""

import glob
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from nmt_moe.checkpoint import files
from nmt_moe.common.errors import UserError
from nmt_moe.non_finite.tensors import all_finite

MARK = "moe_part"
"""The key of a part's mark: a part's number, of how many, how many hold every expert once, the
launch that wrote it, and its number of updates."""

MODEL = "model.pt"
"""fairseq's name of the checkpoint in a folder that holds one model."""

MERGE = (
    "make the parts one file (nmt-moe checkpoint merge), which every command reads and "
    "any number of processes can go on from"
)


@dataclass(frozen=True)
class Checkpoint:
    """What a file of ``fairseq-train`` holds; its tensors stay in the file until they are used."""

    path: Path
    cfg: dict[str, Any]
    """The options of its training, by the part of fairseq; empty where an older fairseq wrote it,
    whose options have another form."""
    updates: int
    model: dict[str, Tensor]
    """The parameters and buffers by name."""
    part: dict[str, Any] | None
    """The mark of a part, see :data:`MARK`; None: the checkpoint is complete."""
    state: dict[str, Any] = field(repr=False)
    """All that the file holds, as :func:`nmt_moe.checkpoint.files.write` takes it."""

    @classmethod
    def read(cls, path: str | Path, checked: bool = False) -> "Checkpoint":
        """Read a complete checkpoint or a part.

        Args:
            path: the file.
            checked: as for :func:`nmt_moe.checkpoint.files.read`.

        Raises:
            UserError: it is no checkpoint, or is damaged.
            OSError: there is no such file.
        """
        state = files.read(str(path), checked)
        return cls(
            path=Path(path),
            cfg=state.get("cfg") or {},
            updates=int(state["optimizer_history"][-1]["num_updates"]),
            model=state["model"],
            part=state.get(MARK),
            state=state,
        )

    @classmethod
    def complete(cls, path: str | Path, checked: bool = False) -> "Checkpoint":
        """Read a checkpoint that has to be complete; of a model's folder its ``model.pt``.

        Raises:
            UserError: there is no such file, or it is damaged or a part.
        """
        path = Path(path)
        if (path / MODEL).is_file():
            path = path / MODEL
        if path.is_dir():
            best = next(path.glob("**/checkpoint_best.pt"), "checkpoint_best.pt")
            raise UserError(f"{path} is a folder: name a file in it, such as {best}")
        if not path.is_file():
            if part_files(str(path)):
                raise UserError(f"{path} is there in parts: {MERGE}")
            raise UserError(f"there is no checkpoint {path}")
        found = cls.read(path, checked)
        if found.part is not None:
            raise UserError(f"{path} is a part of a checkpoint: {MERGE}")
        return found

    def options(self, of: str) -> dict[str, Any]:
        """The options of a part of fairseq, such as ``model`` or ``task``.

        Raises:
            UserError: the checkpoint is of an older fairseq.
        """
        if not self.cfg:
            raise UserError(f"{self.path} is of an older fairseq: its options are in another form")
        return files.options(self.cfg, of)


def part_file(path: str, part: int) -> str:
    """The name that fairseq gives a part of the checkpoint ``path``."""
    return f"{path.removesuffix('.pt')}-rank-{part}.pt"


def part_files(path: str) -> list[str]:
    """The parts of the checkpoint ``path`` that are there."""
    found = {}
    for file in glob.glob(f"{glob.escape(path.removesuffix('.pt'))}-rank-*.pt"):
        number = re.fullmatch(r".*-rank-(\d+)\.pt", file)
        if number is not None:
            found[int(number[1])] = file
    return [found[number] for number in sorted(found)]


def last_good(folder: str) -> Checkpoint | None:
    """The checkpoint in a folder with the most updates whose weights are finite.

    Of one in parts, the first part."""
    found = []
    for path in glob.glob(os.path.join(glob.escape(folder), "checkpoint*.pt")):
        if re.search(r"-rank-[1-9]\d*\.pt$", path):
            continue
        with suppress(UserError, OSError):
            found.append((Checkpoint.read(path).updates, "checkpoint_last" in path, path))
    for _, _, path in sorted(found, reverse=True):
        checkpoint = Checkpoint.read(path, checked=True)
        if all_finite(checkpoint.model.values()):
            return checkpoint
    return None
