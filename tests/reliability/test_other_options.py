"""The same command with other options: goes on, or says in a line which of them do not fit."""

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.commands import Finished
from tests.reliability import stages
from tests.reliability.children import in_a_child

SIX = ["--batch-size", "250"]  # batches in an epoch


def train(text: Path, out: Path, *options: object) -> Finished:
    words = [*stages.TRAIN.format(t=text).split(), *SIX, "--save-dir", str(out)]
    return in_a_child(partial(stages.train, [*words, *map(str, options)]), text)


@pytest.fixture(scope="module")
def half(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that has done three of the six updates of its first epoch."""
    folder = tmp_path_factory.mktemp("half")
    ended = train(text, folder, "--max-update", 3)
    assert ended.code == 0, ended.stdout + ended.stderr
    return folder


def place(folder: Path) -> tuple[int, int, int]:
    """Epoch, batches that were done, of how many."""
    state = torch.load(folder / "checkpoint_last.pt", weights_only=True)["extra_state"]
    return tuple(
        state["train_iterator"].get(k) for k in ("epoch", "iterations_in_epoch", "batches")
    )


@pytest.mark.parametrize(
    ("options", "after"),
    [
        (["--batch-size", 125], (1, 7, 12)),
        (["--update-freq", 2], (1, 4, 6)),
        (["--max-tokens", 20_000, "--batch-size", 750], (1, 2, 3)),
    ],
)
def test_other_batches_in_the_middle_of_an_epoch(text, half, tmp_path, options, after) -> None:
    shutil.copytree(half, tmp_path / "run")
    ended = train(text, tmp_path / "run", "--max-update", 4, *options)
    assert ended.code == 0, ended.stdout + ended.stderr
    assert "the checkpoint was written after 3 of 6: going on after " in ended.stdout
    assert place(tmp_path / "run") == after


@pytest.mark.slow
def test_what_does_not_fit_is_named(text: Path, half: Path, tmp_path: Path) -> None:
    last = half / "checkpoint_last.pt"
    before = last.read_bytes()
    parts = tmp_path / "part"
    torch.save({}, f"{parts}-rank-0.pt")
    start = "--finetune-from-model"
    new = ["--save-dir", tmp_path / "new"]
    for message, options in {
        f"{last} does not fit, ensure that the architectures match: --dim is 16 there, 8 here; "
        "--moe-experts is 4 there, 2 here. Give the options of its training, or take another "
        "--save-dir": [*("--dim", 8, "--moe-experts", 2)],
        f"{last} does not fit: --lr-scheduler is fixed there, inverse_sqrt here. Give the options "
        "of its training, or start with a new schedule (--reset-lr-scheduler)": [
            *("--lr-scheduler", "inverse_sqrt", "--warmup-updates", 3)
        ],
        f"{last} does not fit: --store-ema is False there, True here": ["--store-ema"],
        f"{last} was trained with --attention multiplicative, not additive": [
            *("--attention", "additive")
        ],
        "FairseqAdam vs SGD": ["--optimizer", "sgd"],
        f"{start}: {tmp_path}/none.pt does not exist": [start, tmp_path / "none.pt", *new],
        f"there is no {parts}.pt, but {parts}-rank-0.pt, a part": [start, f"{parts}.pt", *new],
        f"{start} and --reset-meters do not go together": [start, last, "--reset-meters"],
        f"{start} and --restore-file do not go": [start, last, "--restore-file", last],
        "is no dictionary of Python": ["--optimizer-overrides", "{lr"],
    }.items():
        error = train(text, half, *options).error()
        assert message in error, error
    assert last.read_bytes() == before
