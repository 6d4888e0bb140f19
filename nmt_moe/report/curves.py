"""Training curves from fairseq's logs, for :func:`nmt_moe.report.page.write_curves`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nmt_moe.common.errors import UserError
from nmt_moe.runs.training_log import Records, records

Series = dict[str, list[Any]]


def read_runs(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Read the curves of some trainings from their logs.

    Args:
        paths: each a folder (``--save-dir``) that holds ``train.log`` or only one ``*.log``, or a
            log itself: the output of ``fairseq-train``, or its ``--log-file``.

    Returns:
        For each path its ``name``, and for ``train`` and ``valid`` the ``updates`` and, at each of
        these, every numeric figure of the log by its name; None where a line lacks it or it is not
        finite. Training is read from the lines of ``--log-interval``, or from those of the epochs
        if there are no others.

    Raises:
        UserError: there is no log, or it holds no figures.
    """
    return [_run(path) for path in paths]


def log_file(path: Path) -> Path:
    """Find the log of a training in its folder; a file is the log itself.

    Raises:
        UserError: the folder has no log, or several of which none is ``train.log``.
    """
    if not path.is_dir():
        return path
    logs = sorted(path.glob("*.log"))
    named = path / "train.log"
    if named in logs:
        return named
    if len(logs) != 1:
        found = f"{len(logs)} logs, none of them" if logs else "no log"
        raise UserError(
            f"{path} holds {found} train.log: name the log itself; "
            f"fairseq-train writes one with --log-file {named}"
        )
    return logs[0]


def _run(path: Path) -> dict[str, Any]:
    log = log_file(path)
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            found = records(file)
    except OSError as error:
        raise UserError(f"{log} cannot be read: {error.strerror}") from None
    intervals, epochs, valid = found["train_inner"], found["train"], found["valid"]
    if not (intervals or epochs or valid):
        raise UserError(
            f"{log} holds no figures of a training: is it what fairseq-train printed, "
            "with --log-format json, simple or tqdm?"
        )
    return {"name": str(path), "train": _series(intervals or epochs), "valid": _series(valid)}


def _series(found: Records) -> Series:
    names = dict.fromkeys(name for figures in found.values() for name in figures)
    series = {name: [figures.get(name) for figures in found.values()] for name in names}
    return {"updates": list(found)} | series
