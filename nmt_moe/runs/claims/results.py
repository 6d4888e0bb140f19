"""What is made of a claim's logs: table, picture, and checksums of all that was measured."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.runs.claims import tables
from nmt_moe.runs.claims.logs import Log, read

SUMS = "checksums.txt"
"""The file with the SHA-256 of each log, as ``sha256sum --check`` reads it."""


def show(out: Path) -> int:
    """Write what is made of ``run.json`` and the logs; the number of trainings."""
    from nmt_moe.runs.claims import pictures

    run, logs = load(out)
    made = {**of_logs(run, logs), SUMS: checksums(out)}
    with atomic_write([out / name for name in made]) as files:
        for file, text in zip(files, made.values(), strict=True):
            file.write(text)
    pictures.draw(run, logs, out / "picture.svg")
    return len(logs)


def of_logs(run: dict[str, Any], logs: list[Log]) -> dict[str, str]:
    """The files of a table, by name."""
    lines = [*tables.table(run["claim"], logs, run), "", *_notes(run, logs)]
    return {
        "table.md": "".join(f"{line}\n" for line in lines),
        "table.csv": tables.rows(run["claim"], logs, run),
    }


def checksums(out: Path) -> str:
    """A line for each file that was measured: logs, also of what was tried, and comparisons."""
    found = [*out.glob("paired-*.txt"), *out.rglob("*.log"), *out.glob("tried/*/paired-*.txt")]
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(out).as_posix()}\n"
        for path in sorted(found)
    )


def load(out: Path) -> tuple[dict[str, Any], list[Log]]:
    """What a results folder holds.

    Raises:
        UserError: no finished training.
    """
    run = known(out)
    logs = [read(path) for path in sorted((out / "logs").glob("*.log"))]
    logs = [log for log in logs if log.cell in run.get("cells", [])]
    if not logs:
        raise UserError(f"{out} holds no finished training yet")
    return run, logs


def known(out: Path) -> dict[str, Any]:
    """The content of ``run.json``, empty without it."""
    path = out / "run.json"
    try:
        return json.loads(path.read_text("utf-8")) if path.exists() else {}
    except ValueError:
        raise UserError(f"{path} is no JSON: remove {out}, or name another folder") from None


def _notes(run: dict[str, Any], logs: Sequence[Log]) -> list[str]:
    """What is below a table."""
    sizes = [
        f"{kind} text: {text['lines']:,} lines, {text['words'] - text['lines']:,} words, "
        f"{text['pieces'] - text['lines']:,} wordpieces"
        for split, kind in (("train", "Training"), ("test", "test"), ("test1", "second test"))
        if (text := run["text"].get(split))
    ]
    machines = sorted({
        f"{about['device']}, threads {about['threads']}, CPython {about['python']}, "
        f"torch {about['torch']}, fairseq {about['fairseq']}"
        for about in (log.about for log in logs)
    })  # fmt: skip
    commits = sorted({log.about["commit"] for log in logs})
    commands = " ".join(f"`{typed}`." for typed in run["commands"])
    return [
        f"Means of the seeds ± their standard deviation. {'; '.join(sizes)}; in figures by "
        "wordpiece or word each end of a line counts as one more. Parameters without embedding and "
        "softmax unless it says all.",
        "",
        "Each figure's log and line is in `table.csv`; `logs/` keeps of what was printed the lines "
        "with figures, unchanged, after a first one about the training.",
        "",
        f"Commands: {commands} {run.get('commands_note', '')}".rstrip(),
        "",
        f"Machine: {'; '.join(machines)}. Commit: {', '.join(commits)}. {_uncommitted(logs)}",
    ]


def _uncommitted(logs: Sequence[Log]) -> str:
    """Which trainings had a checkout with changes that no commit has."""
    found = [f"{log.cell}-{log.seed}" for log in logs if log.about["commit"].endswith("+")]
    if not found:
        return "No training had files other than its commit's."
    return f"With files that differ from the commit's (+): {', '.join(sorted(found))}."
