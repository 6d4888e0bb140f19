"""The record that commands read of a checkpoint."""

from pathlib import Path

import pytest
import torch

from nmt_moe.checkpoint.convert import split
from nmt_moe.checkpoint.record import MARK, Checkpoint
from nmt_moe.common.errors import UserError
from tests.checkpoint.test_parts import whole_state


def test_what_a_file_holds(tmp_path: Path) -> None:
    whole, state = tmp_path / "whole.pt", whole_state(updates=7)
    torch.save(state, whole)
    found = Checkpoint.complete(whole)
    assert (found.path, found.updates, found.part) == (whole, 7, None)
    assert found.cfg == state["cfg"] and found.options("model") == state["cfg"]["model"]
    assert found.model.keys() == state["model"].keys()
    assert all(map(torch.equal, found.model.values(), state["model"].values()))

    parts = split(str(whole), 2, str(tmp_path / "part"))
    second = Checkpoint.read(parts[1])
    assert second.part == second.state[MARK] and second.part["part"] == 1
    assert second.updates == 7
    with pytest.raises(UserError, match=r"part-rank-1\.pt is a part of a checkpoint: make the"):
        Checkpoint.complete(parts[1])
    with pytest.raises(UserError, match=r"part\.pt is there in parts: make the parts one file"):
        Checkpoint.complete(tmp_path / "part.pt")


def test_options_of_an_older_fairseq_cannot_be_read(tmp_path: Path) -> None:
    torch.save(whole_state() | {"cfg": None}, tmp_path / "old.pt")
    found = Checkpoint.complete(tmp_path / "old.pt")
    assert found.cfg == {} and found.model
    with pytest.raises(UserError, match=r"old\.pt is of an older fairseq"):
        found.options("model")
