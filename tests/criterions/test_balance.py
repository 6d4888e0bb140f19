"""What the log says about the experts, over several batches, processes and restarts."""

import io
from typing import Any

import pytest
import torch
from fairseq.logging import metrics
from torch import Tensor

from nmt_moe.criterions.label_smoothed import MoELabelSmoothedCrossEntropy
from tests.criterions.test_label_smoothed import batch, criterion
from tests.models.build import SOURCE, TARGET, build_model

LAYERS = ("encoder.2", "decoder.1")
MEASURES = ("importance_cv", "load_cv", "load_max", "unused")


@pytest.fixture
def outputs() -> list[dict[str, Any]]:
    """The logging outputs of two different batches of one model in training."""
    torch.manual_seed(0)
    model = build_model(moe_experts=6).train()
    loss = criterion()
    other = batch([[20, 21, 2], [22, 23, 14, 2]], [[2, 20], [2, 21, 22, 23]])
    return [loss(model, sample)[2] for sample in (batch(SOURCE, TARGET), other)]


def summed(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """What fairseq makes of the outputs of several processes."""
    return {name: sum(output[name] for output in outputs) for name in outputs[0]}


def by_hand(outputs: list[dict[str, Any]], layer: str) -> dict[str, float]:
    def total(vector: str) -> Tensor:
        return torch.stack([o[f"moe_{vector}/{layer}"].double() for o in outputs]).sum(0)

    def cv(v: Tensor) -> float:
        return (v.std(unbiased=False) / v.mean()).item()

    counts = total("counts")
    return {
        "importance_cv": cv(total("importance")),
        "load_cv": cv(total("load")),
        "load_max": (counts.max() / counts.mean()).item(),
        "unused": counts.eq(0).sum().item(),
    }


def shown(log: metrics.MetersDict) -> dict[str, float]:
    """The values in the log; names with an underscore are not shown."""
    return {n: v for n, v in log.get_smoothed_values().items() if not n.startswith("_")}


def test_the_log_covers_all_tokens_however_the_batches_arrive(outputs):
    reduce = MoELabelSmoothedCrossEntropy.reduce_metrics
    assert MoELabelSmoothedCrossEntropy.logging_outputs_can_be_summed()
    with metrics.aggregate(new_root=True) as together:  # --update-freq 2
        reduce(outputs)
    with metrics.aggregate(new_root=True) as merged:  # two processes
        reduce([summed(outputs)])
    with metrics.aggregate(new_root=True) as one_by_one:  # --log-interval 2
        for output in outputs:
            reduce([output])
    assert shown(together) == pytest.approx(shown(merged), abs=1e-9)
    assert shown(together) == pytest.approx(shown(one_by_one), abs=2e-3)  # rounded losses
    for layer in LAYERS:
        expected = by_hand(outputs, layer)
        single = by_hand(outputs[:1], layer)
        assert expected["load_cv"] != pytest.approx(single["load_cv"], abs=0.01)
        for name in MEASURES:
            value = shown(together)[f"moe_{layer.replace('.', '_')}_{name}"]
            assert value == pytest.approx(expected[name], abs=0.006), name
            assert value == shown(one_by_one)[f"moe_{layer.replace('.', '_')}_{name}"]


def test_an_expert_that_one_batch_uses_is_not_unused():
    zeros, used = torch.zeros(3), torch.tensor([2, 1, 0])

    def output(counts: Tensor) -> dict[str, Any]:
        vectors = {f"moe_{vector}/encoder.1": counts.float() for vector in ("importance", "load")}
        size = {"loss": 1.0, "nll_loss": 1.0, "ntokens": 3, "sample_size": 3}
        return size | vectors | {"moe_counts/encoder.1": counts}

    for counts, unused, highest in [
        ([used, used.flip(0)], 0, 1.0),
        ([used, used], 1, 2.0),
        ([zeros, zeros], 3, 1.0),  # no token at all
    ]:
        with metrics.aggregate(new_root=True) as log:
            MoELabelSmoothedCrossEntropy.reduce_metrics([output(c) for c in counts])
            values = shown(log)
        assert values["moe_encoder_1_unused"] == unused
        assert values["moe_encoder_1_load_max"] == highest


def test_meters_survive_a_checkpoint(outputs):
    """Statistics of an epoch that was interrupted cover the tokens before the stop, too."""
    reduce = MoELabelSmoothedCrossEntropy.reduce_metrics
    try:
        with metrics.aggregate("train"):
            reduce(outputs[:1])
        file = io.BytesIO()
        torch.save(metrics.state_dict(), file)
        metrics.reset()
        metrics.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
        with metrics.aggregate("train"):
            reduce(outputs[1:])
        log = shown(metrics.get_meters("train"))
    finally:
        metrics.reset()
    for layer in LAYERS:
        for name, value in by_hand(outputs, layer).items():
            found = log[f"moe_{layer.replace('.', '_')}_{name}"]
            assert found == pytest.approx(value, abs=0.006), name
