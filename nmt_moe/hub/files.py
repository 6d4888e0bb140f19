"""Finding the checkpoint in a folder."""

import os
from pathlib import Path

from fairseq.utils import split_paths

from nmt_moe.checkpoint.record import part_files
from nmt_moe.common.errors import UserError

DEFAULT = "model.pt"
"""fairseq's name of the checkpoint in a folder."""
_TRAINED = ("checkpoint_best.pt", "checkpoint_last.pt")


def find_checkpoints(path: str | Path, name: str = DEFAULT) -> list[Path]:
    """The checkpoints of a folder that translate together, mostly one.

    Args:
        path: the folder, or a checkpoint; several have colons between them.
        name: of a file in the folder; several have colons between them. Without ``model.pt`` the
            default is ``checkpoint_best.pt``, else ``checkpoint_last.pt``, else the only one.

    Raises:
        UserError: there is none, or there are several and none is named.
    """
    given = [*map(Path, split_paths(str(path)))]
    if all(file.is_file() for file in given):
        return given
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(f"there is no folder and no checkpoint {path}")
    if name != DEFAULT:
        return [folder / one for one in name.split(os.pathsep)]
    for known in (name, *_TRAINED):
        if (folder / known).is_file() or part_files(str(folder / known)):
            return [folder / known]
    found = sorted(folder.glob("*.pt"))
    if len(found) > 1:
        raise UserError(
            f"{folder} holds {len(found)} checkpoints, and neither {' nor '.join(_TRAINED)}: "
            f"choose one with checkpoint_file, such as {found[-1].name}"
        )
    if not found:
        inside = sorted({file.parent for file in folder.glob("*/checkpoint_*.pt")})
        hint = f": did you mean {' or '.join(map(str, inside))}?" if inside else ""
        raise UserError(f"there is no checkpoint in {folder}{hint}")
    return found
