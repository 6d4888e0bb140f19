"""The training loss against one that is written down again here."""

import math
from dataclasses import fields
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from fairseq.logging import metrics
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.criterions.label_smoothed import MoELabelSmoothedCrossEntropy
from nmt_moe.criterions.label_smoothed import MoELabelSmoothedCrossEntropyConfig as Config
from nmt_moe.models.translation import LSTMMoEModel
from tests.models.build import SOURCE, TARGET, build_model, dictionary, pad_batch

PAD, EOS, SMOOTHING = 1, 2, 0.1


def criterion(sentence_avg: bool = False, **options) -> MoELabelSmoothedCrossEntropy:
    """With the defaults of its options."""
    task = SimpleNamespace(target_dictionary=dictionary())
    defaults = {option.name: option.default for option in fields(Config) if "moe" in option.name}
    return MoELabelSmoothedCrossEntropy(
        task, sentence_avg, SMOOTHING, 0, False, **(defaults | options)
    )


def batch(source: list[list[int]] = SOURCE, target: list[list[int]] = TARGET) -> dict:
    """What fairseq's translation task gives to a criterion."""
    return {
        "net_input": {
            "src_tokens": pad_batch(source, PAD, left=True),
            "src_lengths": torch.tensor([len(sentence) for sentence in source]),
            "prev_output_tokens": pad_batch(target, PAD, left=False),
        },
        "target": pad_batch([sentence[1:] + [EOS] for sentence in target], PAD, left=False),
        "ntokens": sum(map(len, target)),
    }


def squared_cv(v: Tensor) -> Tensor:
    return v.var(unbiased=False) / v.mean() ** 2


def by_hand(model: LSTMMoEModel, sample: dict, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Summed cross entropy with smoothing, and both balance losses without weights."""
    torch.manual_seed(seed)
    logits, extra = model(**sample["net_input"])
    classes = logits.shape[-1]
    target = F.one_hot(sample["target"], classes).to(logits)
    other = SMOOTHING / (classes - 1)
    wanted = (1 - SMOOTHING - other) * target + other
    entropy = -(wanted * logits.log_softmax(-1)).sum(-1)[sample["target"] != PAD].sum()
    layers = extra["routing"].values()
    assert len(layers) == 2
    importance = sum(squared_cv(layer.importance_E) for layer in layers)
    load = sum(squared_cv(layer.load_E) for layer in layers)
    return entropy, importance, load


@pytest.mark.parametrize("sentence_avg", [False, True])
def test_gradient_is_that_of_cross_entropy_plus_weighted_squared_cvs(sentence_avg):
    torch.manual_seed(0)
    model = build_model().double().train()  # with gating noise
    sample = batch()
    parameters = list(model.parameters())

    loss = criterion(sentence_avg, moe_importance_weight=0.5, moe_load_weight=2.0)
    torch.manual_seed(1)
    total, sample_size, logged = loss(model, sample)
    ours = torch.autograd.grad(total / sample_size, parameters)

    entropy, importance, load = by_hand(model, sample, seed=1)
    count = 3 if sentence_avg else sum(map(len, TARGET))
    assert sample_size == count
    expected = torch.autograd.grad(entropy / count + 0.5 * importance + 2 * load, parameters)
    for (name, _), got, want in zip(model.named_parameters(), ours, expected, strict=True):
        # fairseq takes the softmax in float32
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6, msg=name)

    assert logged["loss"].item() == pytest.approx(entropy.item(), rel=1e-6)
    assert logged["moe_importance_loss"].item() == pytest.approx(0.5 * importance.item() * count)
    assert logged["moe_load_loss"].item() == pytest.approx(2 * load.item() * count)


def test_each_weight_is_of_its_own_loss_and_zero_switches_it_off():
    torch.manual_seed(0)
    model = build_model().double().train()
    sample = batch()
    entropy, importance, load = by_hand(model, sample, seed=1)
    size = sum(map(len, TARGET))
    for weights, balance in [((0.0, 0.0), 0.0), ((1.0, 0.0), importance), ((0.0, 1.0), load)]:
        loss = criterion(moe_importance_weight=weights[0], moe_load_weight=weights[1])
        torch.manual_seed(1)
        total, _, _ = loss(model, sample)
        expected = (entropy + size * balance).detach()
        assert total.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("groups", [1, 2])
def test_strictly_balanced_gating_adds_its_threshold_loss_in_training_only(groups):
    torch.manual_seed(0)
    model = build_model(moe_gating="strictly_balanced", moe_groups=groups).double().train()
    sample = batch()
    entropy, importance, _ = by_hand(model, sample, seed=1)
    layers = model(**sample["net_input"])[1]["routing"].values()
    thresholds = sum(layer.threshold_loss for layer in layers)
    assert thresholds.item() > 0
    loss = criterion(moe_importance_weight=0.5, moe_load_weight=0, moe_threshold_weight=3.0)
    total, size, logged = loss(model, sample)
    expected = (entropy + size * 0.5 * importance + 3 * thresholds).detach()
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert logged["moe_threshold_loss"].item() == pytest.approx(3 * thresholds.item())
    logged = loss(model.eval(), sample)[2]
    assert "moe_threshold_loss" not in logged
    assert "moe_importance_loss" in logged and "moe_counts/encoder.2" in logged


def test_default_weights():
    loss = criterion()
    weights = (loss.importance_weight, loss.load_weight, loss.threshold_weight)
    assert weights == (0.01, 0.01, 0.1)  # the first two are the paper's, in translation


def test_logged_losses_are_bits_per_token():
    loss = MoELabelSmoothedCrossEntropy
    one = {"loss": 3.0, "nll_loss": 2.0, "ntokens": 4, "nsentences": 1, "sample_size": 4}
    one |= {"moe_importance_loss": torch.tensor(1.0), "moe_load_loss": torch.tensor(2.0)}
    one |= {"moe_threshold_loss": torch.tensor(3.0)}
    with metrics.aggregate(new_root=True) as log:
        loss.reduce_metrics([one, one])
        shown = log.get_smoothed_values()
    assert shown["loss"] == pytest.approx(3 / 4 / math.log(2), abs=1e-3)
    assert shown["nll_loss"] == pytest.approx(2 / 4 / math.log(2), abs=1e-3)
    assert shown["moe_importance_loss"] == pytest.approx(1 / 4 / math.log(2), abs=1e-4)
    assert shown["moe_load_loss"] == pytest.approx(2 / 4 / math.log(2), abs=1e-4)
    assert shown["moe_threshold_loss"] == pytest.approx(3 / 4 / math.log(2), abs=1e-4)


@pytest.mark.parametrize("feed_forward", ["dense", "none"])
def test_a_model_without_experts_has_the_translation_loss_alone(feed_forward):
    torch.manual_seed(0)
    model = build_model(feed_forward=feed_forward).eval()
    total, _, logged = criterion()(model, batch())
    assert torch.equal(total, logged["loss"])
    assert not [name for name in logged if name.startswith("moe")]


@pytest.mark.parametrize(
    "option", ["moe_importance_weight", "moe_load_weight", "moe_threshold_weight"]
)
@pytest.mark.parametrize("value", [-0.1, math.nan])
def test_negative_weights_are_refused(option, value):
    with pytest.raises(UserError, match=f"--{option.replace('_', '-')} must be at least 0"):
        criterion(**{option: value})
