"""Every kind of gate through ``fairseq-train``, a stop, and ``fairseq-generate``."""

from pathlib import Path

import pytest
import torch

from tests.commands import Finished, train
from tests.test_generation import check_scores, compare, generate
from tests.test_training import flat, load

BALANCED = ["--moe-gating", "strictly_balanced"]
GROUPS = ["--moe-groups", 2, "--moe-experts", 8]
GATINGS = {
    "noisy_top_k": [],
    "top_k": ["--moe-gating", "top_k"],
    "strictly_balanced": BALANCED,
    "noisy_top_k in groups": GROUPS,
    "strictly_balanced in groups": [*BALANCED, *GROUPS],
    "top_k in groups": ["--moe-gating", "top_k", *GROUPS],
}


@pytest.mark.slow
@pytest.mark.parametrize("gating", GATINGS)
def test_a_model_learns_survives_a_stop_and_translates(data, tmp_path, gating):
    options = ["--lr", 0.02, *GATINGS[gating]]
    whole = train(data, tmp_path / "whole", "--max-update", 40, *options)
    check_training(whole, gating)
    for updates in (20, 40):
        train(data, tmp_path / "stopped", "--max-update", updates, *options)
    got, want = (flat(load(tmp_path / name)["model"]) for name in ("stopped", "whole"))
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        assert torch.equal(got[name], tensor), name

    checkpoint = tmp_path / "stopped" / "checkpoint_last.pt"
    one_by_one = generate(data, checkpoint, beam=2, batch=1)
    check_scores(checkpoint, one_by_one)
    compare(one_by_one, generate(data, checkpoint, beam=2, batch=20))


def check_training(finished: Finished, gating: str) -> None:
    """The loss falls, no expert is left out, and balanced gates are what they are called."""
    logs = finished.logs("train_inner")
    assert float(logs[-1]["nll_loss"]) < float(logs[0]["nll_loss"])
    for log in logs:
        for layer in ("moe_encoder_2", "moe_decoder_1"):
            if gating.startswith("strictly_balanced"):
                assert float(log[f"{layer}_load_cv"]) < 0.05  # an uneven batch rounds m
                assert float(log["moe_threshold_loss"]) >= 0
            if not gating.startswith("top_k"):
                assert int(log[f"{layer}_unused"]) == 0


@pytest.mark.slow
def test_a_checkpoint_without_thresholds_is_refused_by_name(data, trained: Path, tmp_path):
    reset = ["--reset-optimizer", "--reset-dataloader", "--restore-file", trained]
    finished = train(data, tmp_path, *BALANCED, *reset, "--max-update", 1, fails=True)
    assert "has no encoder.feed_forwards.2.moe.gate.threshold, which" in finished.error()
