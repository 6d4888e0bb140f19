"""``--moe-sharded-checkpoint``: each process writes its own part of a checkpoint."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.commands import BIN, PLUGIN, TINY, TRAINING, Finished, run, train
from tests.parallel import command
from tests.test_generation import compare, generate
from tests.test_training import flat

# 10 batches a process in an epoch. Noise and dropout: only equal draws give equal weights.
OPTIONS = ["--optimizer", "moe_adam", "--moe-experts", 8, "--batch-size", 10]
PARTS = "--moe-sharded-checkpoint"


def train_in_two(data: Path, save_dir: Path, *arguments: object) -> Finished:
    return command.train(2, data, save_dir, *OPTIONS, *arguments)


def tool(*arguments: object, **options) -> Finished:
    return run("python", "-m", "nmt_moe.checkpoint", *arguments, **options)


def parts(folder: Path) -> list[Path]:
    return [folder / f"checkpoint_last-rank-{place}.pt" for place in (0, 1)]


def same(one: Path, other: Path) -> None:
    """Weights and optimizer state of two files, bit by bit."""
    got, want = (torch.load(path, weights_only=True) for path in (one, other))
    for part in ("model", "last_optimizer_state"):
        got_leaves, want_leaves = flat(got[part]), flat(want[part])
        assert got_leaves.keys() == want_leaves.keys()
        for name, leaf in want_leaves.items():
            equal = torch.equal if torch.is_tensor(leaf) else type(leaf).__eq__
            assert equal(got_leaves[name], leaf), name


@pytest.fixture(scope="module")
def half(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both parts of a training that was stopped within its second epoch."""
    folder = tmp_path_factory.mktemp("half")
    train_in_two(data, folder, PARTS, "--max-update", 14)
    assert sorted(folder.glob("checkpoint_last*")) == parts(folder)
    return folder


@pytest.fixture(scope="module")
def merged(half: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("merged") / "merged.pt"
    assert tool("merge", half / "checkpoint_last", "--out", path).stderr == ""
    return path


@pytest.mark.slow
@pytest.mark.parametrize("precision", [[], ["--memory-efficient-bf16"]])
def test_a_training_in_parts_goes_on_bit_by_bit(data, precision, tmp_path):
    """Twice, and on the way the parts become a complete checkpoint and parts again."""
    whole, again = tmp_path / "whole", tmp_path / "again"
    options = [PARTS, *precision, "--max-update"]
    train_in_two(data, whole, *options, 22)
    for updates in (14, 18):
        train_in_two(data, again, *options, updates)
    tool("merge", *parts(again), "--out", again / "merged.pt")
    tool("split", again / "merged.pt", "--parts", 2, "--out", tmp_path / "split")
    for place, part in enumerate(parts(again)):
        (tmp_path / f"split-rank-{place}.pt").replace(part)
    finished = train_in_two(data, again, *options, 22)
    assert "@ 18 updates" in finished.stdout
    for got, want in zip(parts(again), parts(whole), strict=True):
        same(got, want)
    one, other = (torch.load(path, weights_only=True) for path in parts(whole))
    states = one["last_optimizer_state"]["state"].values()
    assert all(("remainder" in state) == bool(precision) for state in states)
    one, other = one["model"], other["model"]
    for name, weight in one.items():
        assert torch.equal(weight, other[name]) != (".experts." in name), name


@pytest.mark.slow
def test_merged_parts_are_the_complete_checkpoint_of_the_same_training(data, merged, tmp_path):
    train_in_two(data, tmp_path, "--max-update", 14)
    complete = tmp_path / "checkpoint_last.pt"
    same(merged, complete)
    got, want = (torch.load(path, weights_only=True) for path in (merged, complete))
    assert got.keys() == want.keys() and got["cfg"]["model"] == want["cfg"]["model"]
    translations = generate(data, merged, beam=2, batch=7)
    compare(translations, generate(data, complete, beam=2, batch=7))

    # One process goes on from it.
    shutil.copy(merged, complete)
    finished = train(data, tmp_path, *OPTIONS, "--max-update", 16)
    assert "Loaded checkpoint" in finished.stdout and "@ 14 updates" in finished.stdout


@pytest.mark.slow
def test_a_missing_part_stops_all_processes(data, half, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(half, folder)
    first, second = parts(folder)
    second.rename(folder / "elsewhere")
    launch = ["--standalone", "--nproc_per_node", 2, BIN / "fairseq-train"]
    where = [data, "--user-dir", PLUGIN, "--save-dir", folder]
    finished = run("torchrun", *launch, *where, *TINY, *TRAINING, *OPTIONS, PARTS, fails=True)
    message = f"error: {second} is missing beside {first}: put it there"
    assert finished.code and message in finished.stderr
    assert "Start iterating" not in finished.stdout + finished.stderr
    same(first, parts(half)[0])
    assert not second.exists()


@pytest.mark.slow
def test_commands_that_need_a_complete_checkpoint_refuse_parts(data, half, tmp_path):
    first, _ = parts(half)
    where = ["--user-dir", PLUGIN, "--path", first, "--cpu"]
    error = run("fairseq-generate", data, *where, fails=True).error()
    assert error.startswith(f"{first} is a part of a checkpoint: make the parts one file")

    error = train(data, half, *OPTIONS, fails=True).error()
    assert f"there is no {half / 'checkpoint_last.pt'}, but {first}, a part of it" in error

    error = train(data, tmp_path / "new", *OPTIONS, PARTS, fails=True).error()
    assert "--moe-sharded-checkpoint needs experts that are spread over at least 2" in error
