"""When the log warns that experts have collapsed."""

import io
import math

import pytest
import torch
from fairseq.logging import metrics
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.criterions.collapse import Limits, watch
from tests.criterions.test_label_smoothed import criterion
from tests.parallel.processes import run_in

EVEN = torch.full((8,), 50.0)
HALF = torch.tensor([100.0, 0, 100, 0, 100, 0, 100, 0])
ONE = torch.tensor([393.0, 1, 1, 1, 1, 1, 1, 1])  # 7.9 times the mean
LIMITS = Limits(load=4, dead=0.25, updates=5)


@pytest.fixture(autouse=True)
def fresh():
    metrics.reset()
    yield
    metrics.reset()


def train(*updates: Tensor, limits: Limits = LIMITS, layer: str = "encoder.2") -> None:
    for counts_E in updates:
        with metrics.aggregate("train"):
            watch({layer: counts_E, "decoder.1": EVEN}, limits)


def resume() -> None:
    """What a checkpoint brings into a new process."""
    file = io.BytesIO()
    torch.save(metrics.state_dict(), file)
    metrics.reset()
    metrics.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))


@pytest.mark.parametrize("collapsed", [HALF, ONE])
def test_it_warns_after_n_updates_in_a_row_and_once(collapsed, caplog):
    train(*[EVEN] * 7, *[collapsed] * 4, EVEN, *[collapsed] * 4)
    assert not caplog.records
    train(collapsed)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    train(*[EVEN] * 3, *[collapsed] * 20)
    train(*[collapsed] * 20, layer="encoder.3")
    assert len(caplog.records) == 1


def test_the_warning_has_figures_and_what_to_do(caplog):
    train(*[HALF] * 5)
    text = caplog.messages[0]
    assert "encoder.2 (4 of 8 without a token for 5 updates, the busiest with 2.0 times" in text
    assert "decoder" not in text
    for advice in ("--moe-importance-weight", "--moe-load-weight", "--lr", "--max-tokens"):
        assert advice in text


def test_two_layers_share_the_warning(caplog):
    with metrics.aggregate("train"):
        watch({"encoder.2": HALF, "decoder.1": ONE}, Limits(4, 0.25, 1))
    [text] = caplog.messages
    assert "layer encoder.2 (4 of 8 " in text and "layer decoder.1 (0 of 8 " in text


def test_a_resumed_training_neither_forgets_nor_warns_again(caplog):
    train(*[HALF] * 4)
    resume()
    assert not caplog.records
    train(HALF)
    assert len(caplog.records) == 1
    resume()
    train(*[HALF] * 20)
    assert len(caplog.records) == 1
    metrics.reset()  # another training
    train(*[HALF] * 5)
    assert len(caplog.records) == 2


def test_an_epoch_that_ends_does_not_start_the_count_anew(caplog):
    for _ in range(5):
        train(HALF)
        metrics.reset_meters("train")
    assert caplog.records


def test_validation_is_not_watched(caplog):
    train(*[EVEN] * 3)
    with metrics.aggregate("train"), metrics.aggregate(new_root=True):
        for _ in range(9):
            watch({"encoder.2": HALF}, LIMITS)
    train(*[HALF] * 4)
    assert not caplog.records


@pytest.mark.parametrize(
    "limits", [Limits(), Limits(0, 0, 5), Limits(4, 0.25, 0), Limits(4, 0, 5), Limits(0, 0.5, 5)]
)
def test_each_limit_can_be_switched_off(limits, caplog):
    train(*[HALF] * 9, limits=limits)
    assert not caplog.records


def test_it_must_be_the_same_experts(caplog):
    """Batches of one topic each use few experts, but not the same ones."""
    train(*[HALF, HALF.roll(1)] * 20)
    train(*[ONE.roll(place) for place in range(20)])
    assert not caplog.records


def messages() -> list[str]:
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nmt_moe.criterions.collapse._LOGGER.warning", said.append)
        train(*[HALF] * 9)
    return said


def test_of_several_processes_the_first_warns(tmp_path):
    first, second = run_in(2, tmp_path, messages)
    assert len(first) == 1 and not second


@settings(max_examples=20)
@example(seed=0, experts=4, tokens=-2.0)
@given(seed=st.integers(0, 2**20), experts=st.sampled_from([4, 32, 2048]), tokens=st.floats(-2, 2))
def test_experts_that_only_have_few_tokens_are_not_dead(seed, experts, tokens):
    """Experts with ``10 ** tokens`` tokens an update on average, with the default limits."""
    metrics.reset()
    chance = torch.Generator().manual_seed(seed)
    loss = criterion()
    mean_E = torch.full((experts,), 10**tokens)
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("nmt_moe.criterions.collapse._LOGGER.warning", said.append)
        train(*[torch.poisson(mean_E, chance) for _ in range(110)], limits=loss.collapse_limits)
    assert not said


@pytest.mark.parametrize(("experts", "k"), [(4, 2), (8, 2), (32, 4), (256, 4), (2048, 4)])
def test_the_defaults_see_that_all_tokens_go_to_the_same_experts(experts, k, caplog):
    counts_E = torch.zeros(experts)
    counts_E[:k] = 5000
    train(*[counts_E] * 100, limits=criterion().collapse_limits)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("option", ["load", "dead", "updates"])
@pytest.mark.parametrize("value", [-1, math.nan])
def test_negative_limits_are_refused(option, value):
    with pytest.raises(UserError, match=f"--moe-collapse-{option} must be .*at least 0"):
        criterion(**{f"moe_collapse_{option}": value})


def test_the_criterion_passes_its_updates_on(caplog):
    """In a log that fairseq reduces over batches and processes."""
    loss = criterion(moe_collapse_load=0, moe_collapse_dead=0.4, moe_collapse_updates=2)
    vectors = {f"moe_{vector}/encoder.2": HALF / 2 for vector in ("importance", "load", "counts")}
    output = {"loss": 1.0, "nll_loss": 1.0, "ntokens": 200, "sample_size": 200}
    output |= vectors | {"moe_entropy/encoder.2": torch.tensor([1.0, 200.0])}
    for _ in range(2):
        assert not caplog.records
        with metrics.aggregate("train"):
            loss.reduce_metrics([output, output])
    assert "encoder.2 (4 of 8" in caplog.text
