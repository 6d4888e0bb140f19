"""Checkpoints in parts: marking each process's part, and checking that parts belong together."""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch.distributed as dist

from nmt_moe.checkpoint.record import MARK, MERGE, Checkpoint, part_file, part_files
from nmt_moe.common.errors import UserError
from nmt_moe.moe.mesh import Mesh, training_mesh


def own_part() -> int | None:
    """The number of the part that this process writes; None in a training without parts."""
    mesh = training_mesh()
    return mesh.rank if mesh is not None and mesh.parts else None


def mark(state: dict[str, Any]) -> None:
    """Mark the state of this process as a part."""
    mesh = training_mesh()
    if mesh is not None:
        updates = state["optimizer_history"][-1]["num_updates"]
        state[MARK] = new_mark(mesh.rank, mesh.world_size, mesh.ep_size, mesh.run, updates)


def new_mark(part: int, of: int, team: int, run: str, num_updates: int) -> dict[str, Any]:
    """The value of :data:`MARK` in a part."""
    return {"part": part, "of": of, "team": team, "run": run, "num_updates": num_updates}


def wait_for_others() -> None:
    """Wait until all ranks have written their new parts, before any replaces its old one.

    A rank that fails alone, or saves because of an error, does not wait.
    """
    if own_part() is not None and sys.exception() is None:
        dist.barrier()


def mark_in(checkpoint: Checkpoint) -> dict[str, Any]:
    """The mark of a part.

    Raises:
        UserError: it is a complete checkpoint.
    """
    if checkpoint.part is None:
        raise UserError(f"{checkpoint.path} is a complete checkpoint, not a part of one")
    return checkpoint.part


def check_together(marks: Mapping[str, dict[str, Any]]) -> None:
    """Raise a :class:`UserError` that names two files if they belong to different checkpoints."""
    (first, one), *others = marks.items()
    for file, other in others:
        if other["num_updates"] != one["num_updates"]:
            what = f"have {one['num_updates']} and {other['num_updates']} updates"
        elif any(other[key] != one[key] for key in ("run", "of", "team")):
            what = "are of different trainings"
        else:
            continue
        raise UserError(
            f"{first} and {file} {what}: they make no whole together; take another checkpoint "
            "of the folder, all of whose parts were written at once"
        )


def check(path: str) -> None:
    """Raise a :class:`UserError` unless this training can start from the checkpoint ``path``.

    Called on every rank, with the same result: otherwise a rank that lacks its part would start a
    new training while others resume.
    """
    mesh = training_mesh()
    if mesh is None or not mesh.parts:
        found = part_files(path)
        if found and not os.path.exists(path):
            raise UserError(
                f"there is no {path}, but {found[0]}, a part of it: add --moe-sharded-checkpoint "
                f"here, too, or {MERGE}"
            )
        return
    reports = _reports(path, mesh)
    if _replaced(path, reports, mesh.rank):
        reports = _reports(path, mesh)
    judge(path, reports, mesh.ep_size)


def _reports(path: str, mesh: Mesh) -> list[dict[str, Any]]:
    """What each rank has found, see :func:`judge`; the mark in a new part is its ``draft``."""
    file = part_file(path, mesh.rank)
    report: dict[str, Any] = {}
    if os.path.exists(file):
        try:
            report["mark"] = mark_in(Checkpoint.read(file))
        except (UserError, OSError) as error:
            report["error"] = str(error)
    else:
        report["instead"] = next(filter(os.path.exists, [*part_files(path), path]), None)
    with suppress(UserError, OSError):
        report["draft"] = mark_in(Checkpoint.read(f"{file}.tmp"))
    reports = [report] * mesh.world_size
    dist.all_gather_object(reports, report)
    return reports


def _replaced(path: str, reports: list[dict[str, Any]], place: int) -> bool:
    """Put new parts in place of old ones where a kill has left some; whether any rank had to.

    A kill in :func:`wait_for_others` leaves all old parts. A later kill may leave some old and some
    new parts; then the other new parts are complete under their temporary names.
    """
    found = [report["mark"] for report in reports if "mark" in report]
    if not found:
        return False
    newest = max(found, key=lambda mark: mark["num_updates"])

    def new(report: dict[str, Any], key: str) -> bool:
        return key in report and report[key] | {"part": newest["part"]} == newest

    old = [report for report in reports if not new(report, "mark")]
    if not old or not all(new(report, "draft") for report in old):
        return False
    if not new(reports[place], "mark"):
        file = part_file(path, place)
        os.replace(f"{file}.tmp", file)
    return True


def judge(path: str, reports: list[dict[str, Any]], team: int) -> None:
    """Raise a :class:`UserError` unless the ranks have found one checkpoint, or none.

    Args:
        path: the checkpoint.
        reports: one of each rank: the ``mark`` in its part, or the ``error`` of reading it, or a
            file that was found ``instead``.
        team: processes that share the experts.
    """
    names = [part_file(path, place) for place in range(len(reports))]
    for report in reports:
        if "error" in report:
            raise UserError(report["error"])
    instead = [report["instead"] for report in reports if report.get("instead")]
    if path in instead:
        raise UserError(
            f"{path} is complete, and there are no parts of it: make them (python -m "
            f"nmt_moe.checkpoint split {path} --parts {len(reports)}), or leave out "
            "--moe-sharded-checkpoint"
        )
    marks = {
        name: report["mark"]
        for name, report in zip(names, reports, strict=True)
        if "mark" in report
    }
    there = [*marks, *instead]
    if not there:
        return  # a new training
    if marks:
        check_together(marks)
        of = marks[there[0]]["of"]
        if of != len(reports):
            raise UserError(
                f"{there[0]} is one of {of} parts, and this training has {len(reports)} "
                f"processes: start {of}, or merge and split them anew (python -m "
                "nmt_moe.checkpoint)"
            )
    missing = [name for name in names if name not in marks]
    if missing:
        raise UserError(
            f"{missing[0]} is missing beside {there[0]}: put it there, or take another "
            "checkpoint of the folder (--restore-file) or a new --save-dir"
        )
    for place, (name, own) in enumerate(marks.items()):
        if own["part"] != place:
            raise UserError(f"{name} is part {own['part']}: give the file its old name")
    size = marks[there[0]]["team"]
    if size != team:
        raise UserError(
            f"{there[0]}: the experts are spread over {size} processes, here over {team}: give "
            f"--moe-expert-parallel-size {size}, or merge and split the parts anew (python -m "
            "nmt_moe.checkpoint)"
        )
