"""``--lr-scheduler warmup_hold_inverse_sqrt``."""

import math
from typing import Any

import pytest
import torch
from fairseq.optim import build_optimizer
from fairseq.optim.lr_scheduler import build_lr_scheduler
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import nn

from nmt_moe.common.errors import UserError
from nmt_moe.optim.fairseq_adam import FairseqMoEAdamConfig
from nmt_moe.optim.schedule import (
    WarmupHoldInverseSqrtConfig,
    WarmupHoldInverseSqrtSchedule,
    share_of_rate,
)
from tests.commands import train

lengths = st.integers(0, 10_000)
powers = st.floats(0.01, 4)


def build(lr: Any = (0.5,), **options: Any) -> WarmupHoldInverseSqrtSchedule:
    optimizer = OmegaConf.structured(FairseqMoEAdamConfig(lr=[0.5]))
    optimizer._name = "moe_adam"
    cfg = OmegaConf.structured(WarmupHoldInverseSqrtConfig(lr=list(lr), **options))
    cfg._name = "warmup_hold_inverse_sqrt"
    return build_lr_scheduler(cfg, build_optimizer(optimizer, [nn.Parameter(torch.ones(2, 2))]))


@pytest.mark.parametrize(
    "num_updates, rate",
    [
        (0, 0.5 / 2000),
        (999, 0.25),
        (1998, 0.5 * 1999 / 2000),
        (1999, 0.5),
        (2000, 0.5),
        (9999, 0.5),
        (10_000, 0.5 * math.sqrt(10_000 / 10_001)),
        (39_999, 0.25),
        (40_000, 0.5 * math.sqrt(10_000 / 40_001)),
    ],
)
def test_the_papers_rates(num_updates, rate):
    schedule = build()
    assert schedule.step_update(num_updates) == pytest.approx(rate, rel=1e-12)
    assert schedule.optimizer.get_lr() == schedule.step_update(num_updates)


def test_lengths_of_zero_and_another_power():
    assert [build(warmup_updates=0).step_update(n) for n in (0, 7_999)] == [0.5, 0.5]
    schedule = build(warmup_updates=4, hold_updates=0)
    assert [schedule.step_update(n) for n in (0, 3, 15)] == [0.125, 0.5, 0.25]
    schedule = build(warmup_updates=0, hold_updates=0, decay_power=1.0)
    assert [schedule.step_update(n) for n in (0, 1, 3)] == [0.5, 0.25, 0.125]


@given(warmup=lengths, hold=lengths, power=powers, update=st.integers(1, 50_000))
def test_rises_then_holds_then_falls_without_a_jump(warmup, hold, power, update):
    now, then = (share_of_rate(u, warmup, hold, power) for u in (update, update + 1))
    assert 0 < now <= 1 and 0 < then <= 1
    if update < warmup:
        assert then - now == pytest.approx(1 / warmup)
    elif update < warmup + hold:
        assert now == then == 1
    else:
        assert now > then >= now * (update / (update + 1)) ** power * (1 - 1e-9)


@pytest.mark.parametrize(
    "option, options",
    [
        ("--lr", {"lr": [0.1, 0.2]}),
        ("--lr", {"lr": [-0.1]}),
        ("--warmup-updates", {"warmup_updates": -1}),
        ("--hold-updates", {"hold_updates": -1}),
        ("--decay-power", {"decay_power": 0.0}),
        ("--decay-power", {"decay_power": float("nan")}),
    ],
)
def test_an_option_out_of_its_range_is_named(option, options):
    with pytest.raises(UserError, match=f"{option}[ ,]") as error:
        build(**options)
    assert "\n" not in str(error.value)


def test_a_training_follows_it_also_after_a_stop(data, tmp_path):
    """What fairseq logs after an update is the rate of the next one."""
    schedule = ["--lr-scheduler", "warmup_hold_inverse_sqrt", "--lr", 0.004]
    schedule += ["--warmup-updates", 4, "--hold-updates", 2, "--log-interval", 1]
    rates = {}
    for updates in (5, 9):
        finished = train(data, tmp_path, *schedule, "--max-update", updates)
        for log in finished.logs("train_inner"):
            rates[int(log["num_updates"])] = float(log["lr"])
    want = {n: 0.004 * share_of_rate(n + 1, 4, 2, 0.5) for n in range(1, 10)}
    assert rates == pytest.approx(want, rel=1e-3)
    assert want[1] == 0.002 and want[3] == want[5] == 0.004 and want[9] < 0.0032
