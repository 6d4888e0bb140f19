"""Regularisation as a user asks for it: in training only, and every option in the commands."""

import pytest

from tests.commands import train

QUICK = ["--max-update", 12, "--log-interval", 4]


@pytest.mark.parametrize("precision", [[], ["--amp"]])
def test_r_drop_is_of_training_alone(data, tmp_path, precision):
    ended = train(data, tmp_path, *QUICK, "--r-drop", 5, "--dropout", 0.3, *precision)
    for log in ended.logs("train_inner"):
        assert float(log["r_drop_loss"]) > 0
        assert 12 < float(log["wpb"]) < 200 and float(log["bsz"]) <= 20  # those of one pass
    assert ended.logs("valid")
    assert not any("r_drop_loss" in name for log in ended.logs("valid") for name in log)


DROPPED = ["--word-dropout", 0.2, "--variational-dropout", 0.1, "--recurrent-dropout", 0.2]
DROPPED += ["--moe-hidden-dropout", 0.2, "--moe-expert-dropout", 0.3]
DROPPED += ["--moe-shared-expert", "--moe-init-equal"]
DROPPED += ["--moe-noise-end", 0.2, "--moe-noise-updates", 8]


@pytest.mark.parametrize("precision", [[], ["--amp"]])
def test_everything_else_trains(data, tmp_path, precision):
    ended = train(data, tmp_path, *QUICK, *DROPPED, *precision)
    losses = [float(log["loss"]) for log in ended.logs("train_inner")]
    assert len(losses) == 3 and losses[-1] < losses[0]
