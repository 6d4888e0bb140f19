"""What is chosen for an amount of text."""

import re
from dataclasses import replace
from typing import Any

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.own_text.choices import Choices, choose, table
from nmt_moe.own_text.machine import Machine
from nmt_moe.own_text.speed import multiply_adds

TWO_CORES = Machine(cores=2, memory=16 << 30)
GPUS = Machine(cores=16, memory=80 << 30, gpus=8, gpu="a GPU", bf16=True)


def made(pairs: int, **how: Any) -> Choices:
    how = {"words": 12 * pairs, "machine": TWO_CORES, "settings": {}} | how
    return choose(pairs, **how)


@pytest.mark.parametrize("machine", [TWO_CORES, GPUS])
def test_every_amount_of_text_has_choices_that_fairseq_takes(machine: Machine) -> None:
    for pairs in (1, *(row["pairs"] for row in table()["rows"]), 10**9):
        found = made(pairs, machine=machine)
        assert found.updates > 0 and found.reasons
        # A user's setting has all options read by fairseq's parser.
        assert made(pairs, machine=machine, settings={"seed": "2"}).settings["seed"] == "2"


def test_an_hour_for_multi30k_has_the_settings_of_its_recipe() -> None:
    found = made(29_000, time=3600.0)
    recipe = {"dim": "256", "moe-experts": "16", "moe-k": "2", "moe-hidden-dim": "512"}
    recipe |= {"dropout": "0.25", "optimizer": "adam", "lr": "0.0015", "lr-scheduler": "cosine"}
    assert recipe.items() <= found.settings.items()
    assert (found.vocabulary, found.max_tokens, found.warmup) == (4000, 1000, 500)
    assert 5500 < found.updates < 8000


@pytest.mark.parametrize(
    ("machine", "pairs", "settings", "batch"),
    [
        (TWO_CORES, 29_000, {}, "4000"),
        (TWO_CORES, 29_000, {"max-tokens-valid": "500"}, "500"),
        (GPUS, 10**9, {}, "16000"),  # that of the training
    ],
)
def test_validations_have_large_batches(
    machine: Machine, pairs: int, settings: dict[str, str], batch: str
) -> None:
    words = made(pairs, machine=machine, settings=settings).options
    assert words.count("--max-tokens-valid") == 1
    assert words[words.index("--max-tokens-valid") + 1] == batch


def test_less_time_means_a_smaller_model_and_fewer_updates() -> None:
    one = replace(TWO_CORES, cores=1)
    hours, minutes = (made(140_000, machine=one, time=time) for time in (6 * 3600.0, 1200.0))
    assert (hours.size, minutes.size) == ("medium", "small")
    assert minutes.updates < hours.updates and minutes.dropout < hours.dropout
    assert any("medium would see too few" in reason for reason in minutes.reasons)
    fast = replace(one, multiply_adds=10 * table()["speed"]["core"])
    assert made(140_000, machine=fast, time=1200.0).size == "medium"


def test_a_processor_with_bfloat16_uses_it() -> None:
    narrow = replace(TWO_CORES, bf16=True)
    assert "--amp" not in made(1000).options
    found = made(1000, machine=narrow)
    assert "--amp" in found.options and any("bfloat16" in reason for reason in found.reasons)
    for name in ("amp=false", "bf16=true", "memory_efficient_bf16=true"):
        settings = dict([name.split("=")])
        assert "--amp" not in made(1000, machine=narrow, settings=settings).options


def test_the_speed_of_this_machine() -> None:
    assert 1e8 < multiply_adds(TWO_CORES) < 1e13  # type: ignore[operator]
    assert multiply_adds(GPUS) is None


def test_a_measured_speed_decides_the_updates() -> None:
    found = made(29_000, time=3600.0)
    assert found.fitted(500, 10_000, 2, "why").updates == 13 * 500
    slow = found.fitted(500, 1000, 2, "ten minutes at 2 updates a second")
    assert (slow.updates, slow.warmup, slow.dropout) == (1000, 100, 0.0)
    assert found.fitted(500, 3500, 2, "half an hour").dropout == 0.1
    assert found.fitted(500, 6000, 2, "an hour").dropout == 0.2
    assert made(4_000_000).fitted(500, 6000, 2, "an hour").dropout == 0.4
    assert slow.reasons[0] == "ten minutes at 2 updates a second"
    with pytest.raises(UserError, match="for 29,000 pairs, give a --time that is 2 minutes longer"):
        found.fitted(500, 10, 1, "ten seconds at 1 update a second")


def test_what_the_user_sets_comes_in_place_of_the_choice() -> None:
    given = {"dropout": "0.33", "--moe_experts": "8", "max-update": "700", "vocabulary": "900"}
    found = made(29_000, settings=given | {"share-all-embeddings": "true"})
    assert (found.dropout, found.experts, found.updates, found.vocabulary) == (0.33, 8, 700, 900)
    assert "--share-all-embeddings" in found.options and "--vocabulary" not in found.options
    assert found.fitted(500, 10, 1, "why").updates == 700
    assert any("dropout=0.33, moe-experts=8, updates=700" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dropuot": "0.1"}, "--set dropuot: no such option, did you mean dropout"),
        ({"dropout": "lots"}, "--set dropout: invalid float value: 'lots'"),
        ({"dropout": "2"}, "--dropout must be at least 0 and less than 1"),
        ({"moe-k": "99"}, "--moe-k 99 is more than --moe-experts 16"),
        ({"vocabulary": "12"}, "--set vocabulary must be at least 300, not 12"),
        ({"updates": "1.5"}, "--set updates=1.5: must be a whole number"),
        ({"attention-residual": "5"}, "it is a switch, give true or false"),
        ({"optimizer": "sgdd"}, "--set optimizer: invalid choice: 'sgdd'"),
    ],
)
def test_a_setting_that_does_not_exist_or_fit_is_one_line(
    settings: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        made(29_000, settings=settings)
    with pytest.raises(UserError, match="there is no --size bse: did you mean base"):
        made(29_000, size="bse")


def test_every_source_is_explained() -> None:
    known = table()
    rows = [*known["rows"], *known["sizes"].values(), *known["short"]]
    assert {name for row in rows for name in row["sources"]} <= set(known["sources"])
    assert [row["pairs"] for row in known["rows"]] == sorted(row["pairs"] for row in known["rows"])
    assert {row["size"] for row in known["rows"]} <= set(known["sizes"])
