"""What is logged of attention, and when the log warns that it has died."""

import math

import pytest
import torch
from fairseq.logging import metrics
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.criterions.attention import VECTOR, Limits, attention_sums, figures, watch
from nmt_moe.criterions.balanced import BalanceConfig
from tests.criterions.test_collapse import resume
from tests.criterions.test_label_smoothed import batch, criterion
from tests.models.build import build_model

DEFAULTS = Limits(BalanceConfig.attention_dead_share, BalanceConfig.attention_dead_updates)
LIMITS = Limits(0.75, 5)


@pytest.fixture(autouse=True)
def fresh():
    metrics.reset()
    yield
    metrics.reset()


def looking_at(*places: int, length: int = 8) -> Tensor:
    """The sums of a sentence whose steps look at these source positions alone."""
    attn_BLS = torch.eye(length)[torch.tensor(places)].unsqueeze(0)
    return attention_sums(attn_BLS, torch.full((1, length), 5), torch.full((1, len(places)), 5), 1)


def train(*updates: Tensor, limits: Limits = LIMITS) -> None:
    for sums_6 in updates:
        with metrics.aggregate("train"):
            watch(sums_6, limits)


DEAD = looking_at(*[7] * 9)
FIRST = looking_at(*[0] * 9)
COPY = looking_at(*range(8))
LONG_WORDS = looking_at(0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 7)


@pytest.mark.parametrize("left", [True, False])
def test_sums_are_those_of_a_loop_without_padding(left):
    torch.manual_seed(0)
    sources, steps, pad = [6, 4, 3], [5, 2, 4], 1
    source, read = torch.full((3, 6), pad), torch.full((3, 5), pad)
    attn = torch.rand(3, 5, 6).double()
    expected = [0.0] * 6
    for b, (n, m) in enumerate(zip(sources, steps, strict=True)):
        where = slice(6 - n, 6) if left else slice(0, n)
        source[b, where], read[b, :m] = 7, 7
        inside = torch.zeros(6).bool()
        inside[where] = True
        attn[b, :, ~inside] = 0
        attn[b, 1:3] = 0
        attn[b, 1:3, where.start] = 1  # the second of these two is stuck
        attn[b] /= attn[b].sum(1, keepdim=True)
        rows = attn[b, :m, where]
        expected[0] += m
        expected[1] -= (rows * rows.clamp_min(1e-30).log2()).sum().item()
        expected[2] += rows.max(1).values.sum().item()
        expected[3] += rows[:, -1].sum().item()
        if n >= 4:
            expected[4] += m - 1
            expected[5] += sum(
                bool(((rows[t] > 0.99) & (rows[t - 1] > 0.99)).any()) for t in range(1, m)
            )
    found = attention_sums(attn, source, read, pad)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    parts = [
        attention_sums(attn[b : b + 1], source[b : b + 1], read[b : b + 1], pad) for b in range(3)
    ]
    assert sum(parts).tolist() == pytest.approx(expected, rel=1e-5)


def test_figures_of_known_attention():
    assert figures(DEAD) == dict(entropy=0, top_share=1, last_share=1, stuck=1)
    assert figures(COPY) == dict(entropy=0, top_share=1, last_share=0.125, stuck=0)
    even = attention_sums(
        torch.full((1, 4, 8), 1 / 8), torch.full((1, 8), 5), torch.full((1, 4), 5), 1
    )
    assert figures(even) == dict(entropy=3, top_share=0.125, last_share=0.125, stuck=0)
    assert figures(torch.zeros(6)) == dict(entropy=0, top_share=0, last_share=0, stuck=0)


@pytest.mark.parametrize("dead", [DEAD, FIRST])
def test_it_warns_after_n_updates_in_a_row_and_once(dead, caplog):
    train(*[COPY] * 7, *[dead] * 4, COPY, *[dead] * 4)
    assert not caplog.records
    train(dead)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    text = record.getMessage()
    assert "attention is dead: for 5 updates 100% of the decoder's steps" in text
    for advice in ("--lr", "--warmup-updates", "--attention"):
        assert advice in text
    train(COPY, *[dead] * 20)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "healthy",
    [
        COPY,
        LONG_WORDS,
        looking_at(*range(7, -1, -1)),
        looking_at(0, 1, 2, 2, 2, length=3),  # the end of a short sentence
        looking_at(*[0] * 5, length=1),
        0.4 * DEAD + 0.6 * COPY,
    ],
)
def test_sharp_attention_that_moves_is_healthy(healthy, caplog):
    train(*[healthy] * 300, limits=DEFAULTS)
    assert not caplog.records


def test_the_defaults_see_what_was_measured(caplog):
    """89% of the steps on the end of the sentence, of a training on everyday French."""
    train(*[0.89 * DEAD + 0.11 * COPY] * 100, limits=DEFAULTS)
    assert len(caplog.records) == 1


def test_a_resumed_training_neither_forgets_nor_warns_again(caplog):
    train(*[DEAD] * 4)
    resume()
    assert not caplog.records
    train(DEAD)
    assert len(caplog.records) == 1
    resume()
    train(*[DEAD] * 20)
    assert len(caplog.records) == 1


def test_validation_is_not_watched(caplog):
    with metrics.aggregate("train"), metrics.aggregate(new_root=True):
        for _ in range(9):
            watch(DEAD, LIMITS)
    train(*[DEAD] * 4)
    assert not caplog.records


@pytest.mark.parametrize("limits", [Limits(), Limits(0, 5), Limits(0.75, 0)])
def test_each_limit_can_be_switched_off(limits, caplog):
    train(*[DEAD] * 9, limits=limits)
    assert not caplog.records


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("feed_forward", ["moe", "none"])
def test_the_criterion_logs_it(training, feed_forward, caplog):
    """Over batches and processes, whose logs fairseq adds or lists."""
    model = build_model(feed_forward=feed_forward).train(training)
    loss = criterion(attention_dead_updates=2).train(training)
    sample = batch()
    output = loss(model, sample)[2]
    attn = model(**sample["net_input"])[1]["attn"][0]
    inputs = sample["net_input"]
    expected = attention_sums(attn, inputs["src_tokens"], inputs["prev_output_tokens"], 1)
    torch.testing.assert_close(output[VECTOR], expected, rtol=0.2, atol=0.2)  # noise in gates
    with metrics.aggregate("train") as logged:
        loss.reduce_metrics([output, output])
    shown = logged.get_smoothed_values()
    names = {f"attention_{name}": value for name, value in figures(2 * output[VECTOR]).items()}
    assert {name: shown[name] for name in names} == names
    assert 0 < shown["attention_entropy"] < math.log2(5)
    assert not any("/" in name for name in shown)
    if training:
        for _ in range(2):
            with metrics.aggregate("train"):
                loss.reduce_metrics([{**output, VECTOR: DEAD}] * 2)
        assert "attention is dead" in caplog.text


@pytest.mark.parametrize(("option", "value"), [("share", -1), ("share", 1.1), ("updates", -1)])
def test_limits_out_of_range_are_refused(option, value):
    with pytest.raises(UserError, match=f"--attention-dead-{option} must be at least 0"):
        criterion(**{f"attention_dead_{option}": value})
