"""Results of a claim: from the run's folder, and from their own logs."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary

from nmt_moe.common import scripts
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.lines import read_lines
from nmt_moe.models.architectures import LANGUAGE, TRANSLATION, build, saved_config
from nmt_moe.plan import counts
from nmt_moe.runs.claims import pictures, tables
from nmt_moe.runs.claims.logs import Log, harvest, parse, read
from nmt_moe.runs.folder import BEST, finished
from nmt_moe.runs.folder import settings as settings_of

SPLITS = ("train", "valid", "test", "test1")


def collect(claim: str, run: Path, out: Path, cells: Sequence[str], command: str) -> int:
    """Add the finished trainings of a run's folder to the results, and write these anew.

    Args:
        claim: its name.
        run: the run's folder.
        out: that of the results.
        cells: all of the grid, in its order.
        command: what was typed, without the machine's paths.

    Returns:
        The number of trainings in the results.

    Raises:
        UserError: nothing has finished, or the results there are of other data or settings.
    """
    settings = settings_of(run)
    for name in ("text", "from"):  # paths; the checksums below say what they were
        settings.pop(name, None)
    found = {"claim": claim, "settings": settings, "text": _texts(run)}
    known = _known(out)
    for name, value in found.items():
        if known and known.get(name) != value:
            raise UserError(
                f"{out} holds results of other {name}: {known.get(name)}, now it is {value}; "
                "name another folder, RESULTS=..., or remove it"
            )
    symbols = len(Dictionary.load(str(next((run / "binary").glob("dict.*txt")))))
    logs = {}
    for stage in sorted(finished(run)):
        if (stage / "options").exists():
            logs[out / "logs" / f"{stage.name}.log"] = [*harvest(stage, _size(stage, symbols))]
    for path, lines in logs.items():
        parse(path, lines)
    (out / "logs").mkdir(parents=True, exist_ok=True)
    content = json.dumps(found | {"command": command, "cells": list(cells)}, indent=1) + "\n"
    with atomic_write([*logs, out / "run.json"]) as (*files, about):
        for file, lines in zip(files, logs.values(), strict=True):
            file.writelines(f"{line}\n" for line in lines)
        about.write(content)
    return show(out)


def show(out: Path) -> int:
    """Write table and picture from ``run.json`` and the logs; the number of trainings."""
    run, logs = load(out)
    lines = [*tables.table(run["claim"], logs, run), "", *_notes(run, logs)]
    with atomic_write([out / "table.md", out / "table.csv"]) as (markdown, csv):
        markdown.writelines(f"{line}\n" for line in lines)
        csv.write(tables.rows(run["claim"], logs, run))
    pictures.draw(run, logs, out / "picture.svg")
    return len(logs)


def load(out: Path) -> tuple[dict[str, Any], list[Log]]:
    """What a results folder holds.

    Raises:
        UserError: no finished training.
    """
    run = _known(out)
    logs = [read(path) for path in sorted((out / "logs").glob("*.log"))]
    logs = [log for log in logs if log.cell in run.get("cells", [])]
    if not logs:
        raise UserError(f"{out} holds no finished training yet")
    return run, logs


def _known(out: Path) -> dict[str, Any]:
    path = out / "run.json"
    try:
        return json.loads(path.read_text("utf-8")) if path.exists() else {}
    except ValueError:
        raise UserError(f"{path} is no JSON: remove {out}, or name another folder") from None


def _texts(run: Path) -> dict[str, dict[str, Any]]:
    """Lines, words and pieces of each split, and a checksum; the end of a line counts as one.

    Of a pair of languages, those of the target.
    """
    folder = run / "corpus"
    suffix = "txt"
    if not (folder / "train.txt").exists():
        folder = next(folder.glob("en-*"))
        suffix = folder.name.removeprefix("en-")
    found = {}
    for path in filter(Path.exists, (folder / f"{split}.{suffix}" for split in SPLITS)):
        pieces = run / "wordpieces" / path.name
        words = [scripts.words(line) + 1 for line in read_lines(path)]
        found[path.stem] = {
            "lines": len(words),
            "words": sum(words),
            "pieces": sum(len(line.split()) + 1 for line in read_lines(pieces)),
            "blake2b": hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest(),
        }
    return found


def _size(stage: Path, symbols: int) -> dict[str, int]:
    """Operations and parameters of a training's model, if it is one of ours."""
    checkpoint = stage / BEST
    saved = torch.load(str(checkpoint), map_location="cpu", mmap=True, weights_only=True)
    model = saved["cfg"]["model"]  # of fairseq's own models a Namespace
    if not isinstance(model, dict) or model["_name"] not in TRANSLATION | LANGUAGE:
        return {}
    with torch.device("meta"):
        built = build(saved_config(checkpoint), symbols)
    return {
        "operations": sum(counts.operations(built).values()),
        "parameters": counts.parameters_without_embedding_and_softmax(built),
    }


def _notes(run: dict[str, Any], logs: Sequence[Log]) -> list[str]:
    """What is below a table."""
    sizes = [
        f"{kind} text: {text['lines']:,} lines, {text['words']:,} words, {text['pieces']:,} "
        "wordpieces"
        for split, kind in (("train", "Training"), ("test", "test"), ("test1", "second test"))
        if (text := run["text"].get(split))
    ]
    machines = sorted({
        f"{about['device']}, threads {about['threads']}, CPython {about['python']}, "
        f"torch {about['torch']}, fairseq {about['fairseq']}"
        for about in (log.about for log in logs)
    })  # fmt: skip
    commits = sorted({log.about["commit"] for log in logs})
    return [
        f"Means of the seeds ± their standard deviation. {'; '.join(sizes)}, ends of lines "
        "included. Parameters without embedding and softmax unless it says all.",
        "",
        "Each figure's log and line is in `table.csv`; `logs/` keeps of what was printed the lines "
        "with figures, unchanged, after a first one about the training.",
        "",
        f"Command: `{run['command']}`. Machine: {'; '.join(machines)}. "
        f"Commit: {', '.join(commits)}.",
    ]
