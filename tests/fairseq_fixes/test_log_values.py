"""On a GPU no number of an update is looked at before a line of the log shows it."""

import pytest
import torch
from fairseq.logging import metrics
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from nmt_moe.criterions.balanced import Balanced
from nmt_moe.criterions.late import Late
from tests.reliability.training import BATCHES, make_trainer

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


class Event:
    """What there is of an event without a GPU."""

    def record(self) -> None:
        pass

    synchronize = record


def on_gpu(value: object) -> object:
    """A tensor without numbers, which the host therefore cannot look at."""
    return torch.empty_like(value, device="cuda") if isinstance(value, Tensor) else value


def test_an_update_on_a_gpu_looks_at_no_number(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    outputs = [trainer.criterion(trainer.model, sample)[2] for sample in BATCHES[1:3]]
    metrics.reset()
    with metrics.aggregate("train") as right:
        assert trainer._reduce_and_log_stats(outputs, 10.0)["loss"] > 0
    shown = right.get_smoothed_values().keys()
    assert "moe_encoder_2_load_cv" in shown and "attention_entropy" in shown
    metrics.reset()
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(Balanced, "_on_host", Late())
    monkeypatch.setattr(trainer, "cuda", True)
    with FakeTensorMode() as mode, metrics.aggregate("train") as found:
        mode.allow_non_fake_inputs = True
        outputs = [{name: on_gpu(value) for name, value in log.items()} for log in outputs]
        assert trainer._reduce_and_log_stats(outputs, 10.0) == {}
        assert not trainer.tpu
        assert found["_moe_counts/encoder.2"].sum.is_cuda
        with pytest.raises(DataDependentOutputException):
            found.get_smoothed_values()
    assert found.keys() == right.keys()


def test_sums_of_a_gpu_come_one_update_later(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", Event)
    late = Late()
    with FakeTensorMode():
        assert late({"a": torch.empty(3, device="cuda"), "b": torch.empty(2, device="cuda")}) == {}
        before = late({"c": torch.empty(4, device="cuda")})
    assert {name: (v.device.type, len(v)) for name, v in before.items()} == {
        "a": ("cpu", 3),
        "b": ("cpu", 2),
    }
    sums = {"a": torch.ones(3)}
    assert late(sums) is sums


@needs_gpu
def test_they_are_those_of_the_update_before():
    late, found = Late(), []
    updates = [{"a": torch.rand(3), "b": torch.rand(2)} for _ in range(3)]
    sums = [{name: v.cuda() for name, v in update.items()} for update in updates]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for update in sums:
            found.append(late(update))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert found[0] == {}
    for one, other in zip(found[1:], updates, strict=False):
        assert all(torch.equal(one[name], other[name]) for name in other)
