"""What a run came to, as JSON: what a published line of a recipe has to say of itself."""

import json
from pathlib import Path
from typing import Any

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.runs import folder
from nmt_moe.runs.training_log import last_validation


def scores(run: Path) -> dict[str, dict[str, Any]]:
    """The name, figure and signature that sacrebleu wrote of each score, by the file's name.

    Raises:
        UserError: a file is not sacrebleu's.
    """
    found = {}
    for path in sorted((run / "translation").glob("*.json")):
        try:
            score = json.loads(path.read_text(encoding="utf-8"))
            figures = (str(score["name"]), float(score["score"]), str(score["signature"]))
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path} is not what sacrebleu writes") from None
        found[path.stem] = dict(zip(("name", "score", "signature"), figures, strict=True))
    return found


def seconds(run: Path) -> dict[str, int]:
    """Those of each finished stage, in the order of their ends."""
    return {stage.name: folder.seconds(stage) for stage in folder.finished(run)}


def validation(run: Path) -> dict[str, Any] | None:
    """The figures of the training's last validation, if it has had one."""
    log = run / "training" / folder.LOG
    return last_validation(folder.log(log.parent)) if log.is_file() else None


def write(run: Path, path: Path) -> None:
    """Write a run's settings, this machine and commit, the seconds of each stage, the figures of
    the last validation, and the scores.

    Raises:
        UserError: the folder does not hold a run.
    """
    from nmt_moe.runs.claims.machine import machine  # which takes seconds to import torch

    found = {
        "settings": folder.settings(run),
        "machine": machine(),
        "seconds": seconds(run),
        "validation": validation(run),
        "scores": scores(run),
    }
    with atomic_write([path]) as [file]:
        json.dump(found, file, indent=1)
        file.write("\n")
