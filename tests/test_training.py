"""``fairseq-train`` with the plugin, as a user types it."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.commands import Finished, train

MEASURES = ("importance_cv", "load_cv", "load_max", "unused", "entropy", "top_share")
SHOWN = [
    *("loss", "nll_loss", "ppl", "moe_importance_loss", "moe_load_loss"),
    *(f"moe_{layer}_{name}" for layer in ("encoder_2", "decoder_1") for name in MEASURES),
]


def flat(state: Any, path: str = "") -> dict[str, Any]:
    """The leaves of nested dicts and lists by their path."""
    if isinstance(state, dict):
        items = list(state.items())
    elif isinstance(state, list | tuple):
        items = list(enumerate(state))
    else:
        return {path: state}
    return {
        name: leaf for key, value in items for name, leaf in flat(value, f"{path}/{key}").items()
    }


def load(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)


# 13 batches an epoch: the training is stopped within the second.
OPTIONS = ["--batch-size", 16, "--dropout", 0.2]


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    """40 updates in one go, with Adam, dropout and gating noise."""
    folder = tmp_path_factory.mktemp("straight")
    events = ["--tensorboard-logdir", folder / "events"]
    return train(data, folder, "--max-update", 40, *OPTIONS, *events), folder


def test_a_training_that_was_stopped_goes_on_bit_by_bit(data, straight, tmp_path):
    train(data, tmp_path, "--max-update", 20, *OPTIONS)
    halfway = flat(load(tmp_path)["model"])
    again = train(data, tmp_path, "--max-update", 40, *OPTIONS)

    stopped, whole = load(tmp_path), load(straight[1])
    assert stopped["optimizer_history"][-1]["num_updates"] == 40
    weights = flat(whole["model"])
    assert any(not torch.equal(halfway[name], weights[name]) for name in weights)
    for part in ("model", "last_optimizer_state"):
        got, want = flat(stopped[part]), flat(whole[part])
        assert got.keys() == want.keys()
        tensors = [name for name, leaf in want.items() if torch.is_tensor(leaf)]
        assert len(tensors) > 10
        for name, leaf in want.items():
            same = torch.equal(got[name], leaf) if name in tensors else got[name] == leaf
            assert same, name
    # The statistics of the interrupted epoch cover the batches before the stop, too.
    for got, want in zip(again.logs("train"), straight[0].logs("train")[1:], strict=True):
        for name in SHOWN:
            value = float(want[f"train_{name}"])
            assert float(got[f"train_{name}"]) == pytest.approx(value, abs=1e-3), name


def test_log_and_tensorboard_show_loss_and_balance(straight):
    finished, folder = straight
    for tag, prefix in {"train_inner": "", "train": "train_", "valid": "valid_"}.items():
        logs = finished.logs(tag)
        assert logs, tag
        for log in logs:
            values = {name: float(log[prefix + name]) for name in SHOWN}
            assert values["nll_loss"] > 0 and 0 <= values["moe_encoder_2_unused"] < 4
            assert 1 <= values["moe_decoder_1_load_max"] <= 2  # 4 experts, k = 2
            assert not [name for name in log if "/" in name]  # nothing of what is summed up
            names = [name.removeprefix(prefix) for name in log]
            ours = next(i for i, name in enumerate(names) if name.startswith(("moe", "attention")))
            sought = {"loss", "ppl", "wps"} | (set() if tag == "valid" else {"lr", "gnorm"})
            assert sought <= {*names[:ours]}  # where people look for them
            # fairseq itself puts these behind all others.
            behind = {name for name in names[ours:] if not name.startswith(("moe", "attention"))}
            assert behind <= {"wall", "num_updates", "best_loss"}
        events = EventAccumulator(str(folder / "events" / tag))
        events.Reload()
        for name in SHOWN:
            written = events.Scalars(name)
            assert len(written) == len(logs), name
            assert written[-1].value == pytest.approx(float(logs[-1][prefix + name]), abs=6e-4)
    losses = [float(log["nll_loss"]) for log in finished.logs("train_inner")]
    assert len(losses) == 4 and losses[-1] < losses[0]


def test_validation_is_the_translation_loss_alone_from_another_folder(data, straight, tmp_path):
    """Also with worker processes, several batches per update and a relative folder."""
    options = ["--max-update", 1, "--lr", 0, "--update-freq", 2, "--num-workers", 2]
    restored = ["--restore-file", straight[1] / "checkpoint_last.pt"]
    reset = ["--reset-optimizer", "--reset-dataloader", "--reset-meters", "--reset-lr-scheduler"]
    weights = ["--moe-importance-weight", 1000, "--moe-load-weight", 2000]
    finished = train(data, "there", *options, *restored, *reset, *weights, cwd=tmp_path)

    before, after = straight[0].logs("valid")[-1], finished.logs("valid")[-1]
    for name in ("valid_loss", "valid_nll_loss", "valid_moe_encoder_2_load_cv"):
        assert after[name] == before[name]
    assert float(after["valid_moe_load_loss"]) > 1000 * float(before["valid_moe_load_loss"]) > 0
    got, want = flat(load(tmp_path / "there")["model"]), flat(load(straight[1])["model"])
    assert all(torch.equal(got[name], want[name]) for name in want)
    assert float(finished.logs("train")[-1]["train_bsz"]) == 40  # two batches of 20


@pytest.mark.parametrize("twin", ["dense", pytest.param("none", marks=pytest.mark.slow)])
def test_a_model_without_experts_trains_with_the_same_criterion(data, twin, tmp_path):
    finished = train(data, tmp_path, "--feed-forward", twin, "--max-update", 20)
    logs = finished.logs("train")
    assert float(logs[-1]["train_nll_loss"]) < float(logs[0]["train_nll_loss"])
    assert not [name for name in logs[-1] if "moe" in name]


@pytest.mark.slow
def test_a_training_with_an_older_optimizer_resumes(data, tmp_path):
    """fairseq's older optimizers keep their options in the checkpoint in another form."""
    for updates in (3, 6):
        train(data, tmp_path, "--optimizer", "sgd", "--lr", 0.01, "--max-update", updates)
    torch.serialization.add_safe_globals([Namespace])  # as the plugin does
    state = load(tmp_path)
    assert state["optimizer_history"][-1]["num_updates"] == 6


@pytest.mark.slow
def test_training_in_bfloat16(data, tmp_path):
    """fairseq takes --bf16 for a wish for TPUs; gates and balance stay in float32."""
    finished = train(data, tmp_path, "--bf16", "--max-update", 20)
    losses = [float(log["nll_loss"]) for log in finished.logs("train_inner")]
    assert losses[-1] < losses[0]
    assert load(tmp_path)["cfg"]["common"]["bf16"] is True
