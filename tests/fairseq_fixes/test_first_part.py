"""A training that ends after its first updates is the beginning of the whole one."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt_moe.common.errors import ErrorOnEveryRank
from nmt_moe.fairseq_fixes import first_part
from tests.commands import Finished, train
from tests.reliability.test_terminated import same, updates

# These are as long as --max-update says.
SCHEDULES = {
    "cosine": ["--warmup-updates", 5],
    "tri_stage": ["--phase-ratio", "[0.2,0.2,0.6]"],
}


def trained(data: Path, folder: Path, *options: object, after: int | None = None) -> Finished:
    given = ["--dropout", 0.2, "--max-update", 24, "--log-interval", 1, *options]
    variables: dict[str, Any] = {} if after is None else {first_part.VARIABLE: str(after)}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        return train(data, folder, *given)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_in_parts_as_in_one(schedule: str, data: Path, tmp_path: Path) -> None:
    """Learning rates, weights and the optimizer's state; 8 updates are within an epoch of 10."""
    options = ["--lr-scheduler", schedule, *SCHEDULES[schedule]]
    whole = trained(data, tmp_path / "whole", *options)
    rates = [line["lr"] for line in whole.logs("train_inner")]
    assert len(set(rates)) > 10
    found: list[str] = []
    for end in (8, 15, None):
        part = trained(data, tmp_path / "parts", *options, after=end)
        found += [line["lr"] for line in part.logs("train_inner")]
        assert updates(tmp_path / "parts/checkpoint_last.pt") == (end or 24) == len(found)
        last = part.logs("valid")[-1]
        assert last["valid_num_updates"] == str(end or 24)
    assert found == rates
    one, parts = (json.dumps(run.logs("valid")[-1]["valid_loss"]) for run in (whole, part))
    assert one == parts
    assert same(tmp_path / "parts/checkpoint_last.pt", tmp_path / "whole/checkpoint_last.pt")


def test_its_end_is_an_end_once(data: Path, tmp_path: Path) -> None:
    trained(data, tmp_path, after=8)
    again = trained(data, tmp_path, after=8)
    assert "all is done: 8 of 8 updates" in again.stdout and not again.logs("valid")
    saved = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)
    assert saved["cfg"]["optimization"]["max_update"] == 24  # the options are the whole training's
    most = trained(data, tmp_path, after=99)
    assert "num_updates: 24 >= max_update: 24" in most.stdout


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "many", ""])
def test_a_number_is_needed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(first_part.VARIABLE, text)
    with pytest.raises(ErrorOnEveryRank, match=first_part.VARIABLE):
        first_part.begins()
