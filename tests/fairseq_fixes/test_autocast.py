"""``--amp`` on a CPU: products in bfloat16, where it has them, and all else in float32."""

import pytest
import torch

from nmt_moe.fairseq_fixes import autocast
from nmt_moe.kernels.cpu.bfloat16 import pays
from tests.reliability.training import BATCHES, make_trainer


@pytest.fixture(autouse=True)
def ask_again():
    autocast._has.cache_clear()
    yield
    autocast._has.cache_clear()


def weights(folder, *options):
    trainer = make_trainer(folder, *options)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train_step(BATCHES[1:2])
    after = [p.detach() for p in trainer.model.parameters()]
    assert all(p.dtype == torch.float32 for p in after)
    return torch.cat([(a - b).flatten() for a, b in zip(after, before, strict=True)])


@pytest.mark.skipif(not pays(), reason="no bfloat16 here")
def test_updates_are_nearly_those_of_float32(tmp_path):
    wide, narrow = weights(tmp_path / "a"), weights(tmp_path / "b", "--amp")
    assert not torch.equal(wide, narrow)
    assert torch.cosine_similarity(wide, narrow, dim=0) > 0.9


def test_without_bfloat16_it_is_float32(tmp_path, monkeypatch, caplog):
    wide = weights(tmp_path / "a")
    monkeypatch.setattr(autocast, "pays", lambda: False)
    with caplog.at_level("INFO"):
        assert torch.equal(weights(tmp_path / "b", "--amp"), wide)
    assert "this processor has no fast bfloat16: --amp trains in float32" in caplog.text


@pytest.mark.skipif(not pays(), reason="no bfloat16 here")
def test_validation_is_in_float32(tmp_path):
    trainers = [make_trainer(tmp_path / name, *more) for name, *more in (["a"], ["b", "--amp"])]
    trainers[1].model.load_state_dict(trainers[0].model.state_dict())
    losses = [float(trainer.valid_step(BATCHES[2])["loss"]) for trainer in trainers]
    assert losses[0] == losses[1]
