"""What the log says about the experts, over several batches, processes and restarts."""

import io
import math
from typing import Any

import pytest
import torch
from fairseq.logging import metrics
from torch import Tensor

from nmt_moe.criterions.label_smoothed import MoELabelSmoothedCrossEntropy
from tests.criterions.test_label_smoothed import batch, criterion
from tests.models.build import SOURCE, TARGET, build_model

LAYERS = ("encoder.2", "decoder.1")
MEASURES = ("importance_cv", "load_cv", "load_max", "unused", "entropy", "top_share")
BATCHES = [
    batch(SOURCE, TARGET),
    batch([[20, 21, 2], [22, 23, 14, 2]], [[2, 20], [2, 21, 22, 23]]),
]


@pytest.fixture
def outputs() -> list[dict[str, Any]]:
    """The logging outputs of two different batches of one model in training."""
    torch.manual_seed(0)
    model = build_model(moe_experts=6).train()
    loss = criterion()
    return [loss(model, sample)[2] for sample in BATCHES]


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
        "entropy": (total("entropy")[0] / total("entropy")[1]).item(),
        "top_share": (counts.max() / counts.sum()).item(),
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
        vectors["moe_entropy/encoder.1"] = torch.tensor([0.0, counts.sum()])
        size = {"loss": 1.0, "nll_loss": 1.0, "ntokens": 3, "sample_size": 3}
        return size | vectors | {"moe_counts/encoder.1": counts}

    for counts, unused, highest, share in [
        ([used, used.flip(0)], 0, 1.0, 1 / 3),
        ([used, used], 1, 2.0, 2 / 3),
        ([zeros, zeros], 3, 1.0, 0.0),  # no token at all
    ]:
        with metrics.aggregate(new_root=True) as log:
            MoELabelSmoothedCrossEntropy.reduce_metrics([output(c) for c in counts])
            values = shown(log)
        assert values["moe_encoder_1_unused"] == unused
        assert values["moe_encoder_1_load_max"] == highest
        assert values["moe_encoder_1_top_share"] == pytest.approx(share, abs=1e-5)
        assert values["moe_encoder_1_entropy"] == 0


@pytest.mark.parametrize("arch", ["lstm_moe", "lstm_moe_lm_4"])
@pytest.mark.parametrize("gating", ["noisy_top_k", "strictly_balanced"])
@pytest.mark.parametrize("groups", [1, 2])
def test_entropy_and_top_share_are_those_of_the_tokens_one_by_one(arch, gating, groups):
    """Also of a token that no expert has taken, which has no entropy."""
    torch.manual_seed(0)
    model = build_model(arch, moe_gating=gating, moe_groups=groups)
    for name, parameter in model.named_parameters():
        if name.endswith(".threshold"):  # so that some tokens get no expert
            mean = 1 / parameter.shape[-1]
            parameter.data.fill_(0.6 * mean if ".primary." in name else 1.7 * mean)
        elif gating == "strictly_balanced" and name.endswith(".w_gate"):
            parameter.data *= 0.3
    model.train(gating == "noisy_top_k")
    loss = criterion()
    samples = BATCHES
    if arch != "lstm_moe":
        samples = [
            s | {"net_input": {"src_tokens": s["net_input"]["prev_output_tokens"]}} for s in BATCHES
        ]
    gates: dict[str, dict[tuple, list[float]]] = {}  # by layer, and there by token
    served: dict[str, list[int]] = {}
    with metrics.aggregate(new_root=True) as log:
        for number, sample in enumerate(samples):
            torch.manual_seed(number)
            for layer, routed in model(**sample["net_input"])[1]["routing"].items():
                triples = zip(routed.token_A, routed.expert_A, routed.gate_A, strict=True)
                for token, expert, gate in triples:
                    one = gates.setdefault(layer, {}).setdefault((number, token.item()), [])
                    one.append(gate.item())
                    served.setdefault(layer, []).append(expert.item())
            torch.manual_seed(number)
            MoELabelSmoothedCrossEntropy.reduce_metrics([loss(model, sample)[2]])
        values = shown(log)
    tokens = {"encoder": 10 + 7, "decoder": 12 + 6}
    read = sum(tokens[layer.split(".")[0]] for layer in gates)
    assert (sum(map(len, gates.values())) < read) == (gating != "noisy_top_k")
    for layer, of_tokens in gates.items():
        bits = -sum(g * math.log2(g) for token in of_tokens.values() for g in token)
        name = f"moe_{layer.replace('.', '_')}"
        mean = bits / tokens[layer.split(".")[0]]
        assert values[f"{name}_entropy"] == pytest.approx(mean, abs=6e-4)
        top = max(map(served[layer].count, range(4))) / len(served[layer])
        assert values[f"{name}_top_share"] == pytest.approx(top, abs=6e-6)


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
