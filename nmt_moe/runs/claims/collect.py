"""Results of a claim, from the run's folder."""

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
from nmt_moe.runs.claims.logs import harvest, parse
from nmt_moe.runs.claims.results import known, show
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
        command: what was typed, without the machine's paths; those of earlier calls stay.

    Returns:
        The number of trainings in the results.

    Raises:
        UserError: nothing has finished, or the results there are of other data or settings.
    """
    settings = settings_of(run)
    for name in ("text", "from"):  # paths; the checksums below say what they were
        settings.pop(name, None)
    found = {"claim": claim, "settings": settings, "text": _texts(run)}
    before = known(out)
    for name, value in found.items():
        if before and before.get(name) != value:
            raise UserError(
                f"{out} holds results of other {name}: {before.get(name)}, now it is {value}; "
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
    typed = dict.fromkeys([*before.get("commands", []), command])
    content = json.dumps(found | {"commands": [*typed], "cells": list(cells)}, indent=1) + "\n"
    with atomic_write([*logs, out / "run.json"]) as (*files, about):
        for file, lines in zip(files, logs.values(), strict=True):
            file.writelines(f"{line}\n" for line in lines)
        about.write(content)
    return show(out)


def _texts(run: Path) -> dict[str, dict[str, Any]]:
    """Lines, words and pieces of each split, and a checksum; the end of a line counts as one.

    Of pairs of languages, those of the targets.
    """
    found = {}
    for split in SPLITS:
        paths = _text(run, split)
        if not paths:
            continue
        words = [scripts.words(line) + 1 for path in paths for line in read_lines(path)]
        names = [paths[0].name, f"{split}.tgt"]  # the second one is of several pairs
        [pieces] = filter(Path.exists, (run / "wordpieces" / name for name in names))
        content = hashlib.blake2b(b"".join(path.read_bytes() for path in paths), digest_size=16)
        found[split] = {
            "lines": len(words),
            "words": sum(words),
            "pieces": sum(len(line.split()) + 1 for line in read_lines(pieces)),
            "blake2b": content.hexdigest(),
        }
    return found


def _text(run: Path, split: str) -> list[Path]:
    """Of all pairs, sorted."""
    plain = run / "corpus" / f"{split}.txt"
    pairs = (run / "corpus").glob("*-*")
    paths = [folder / f"{split}.{folder.name.partition('-')[2]}" for folder in sorted(pairs)]
    return [path for path in [plain, *paths] if path.exists()]


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
