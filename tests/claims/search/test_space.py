"""The table of a search: what it is the grid of, and what it may not have."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.runs.claims.search.space import KEYS, parse, read
from tests.recipes import ROOT

PLAIN: dict[str, Any] = {"data": "bin", "base": "--arch lstm_moe_tiny", "updates": 10}


def test_a_grid() -> None:
    values = {
        "lr": [1e-3, "0.01"],
        "share-all-embeddings": [True, False],
        "model": {"dense": "--feed-forward dense", "4": "--moe-experts 4 --moe-k 2"},
    }
    space = parse(PLAIN | {"settings": values})
    assert [*space.settings] == [*range(1, 9)] and space.budgets == [10] and space.seeds == [1]
    options = [" ".join(setting.options) for setting in space.settings.values()]
    assert len({*options}) == 8
    first = "--lr 0.001 --share-all-embeddings --feed-forward dense"
    assert options[0] == first and options[-1] == "--lr 0.01 --moe-experts 4 --moe-k 2"
    assert str(space.settings[4]) == "lr=0.001 share-all-embeddings=off model=4"
    assert [*parse(PLAIN).settings] == [1] and str(parse(PLAIN).settings[1]) == "base"


def test_a_sample_is_of_the_grid_and_the_same_each_time() -> None:
    grid = PLAIN | {"settings": {"lr": [*range(1, 11)], "dropout": [*range(10)]}}
    every = parse(grid).settings
    found = [parse(grid | {"sample": 7, "sample_seed": seed}).settings for seed in (1, 1, 2)]
    assert found[0] == found[1] and found[0].keys() != found[2].keys()
    assert all(len(some) == 7 and some.items() <= every.items() for some in found)
    huge = parse(grid | {"settings": {f"x{n}": [*range(99)] for n in range(9)}, "sample": 3})
    assert len(huge.settings) == 3


def test_data_that_differ() -> None:
    space = parse({
        "base": "--eval-bleu", "updates": 10, "metric": "bleu",
        "settings": {"data": ["one", "two"], "lr": [1, 2]},
    })  # fmt: skip
    assert space.data == ["one", "two"] and space.settings[3].data == "two"
    assert space.settings[3].options == ["--lr", "1"] and space.higher
    content = space.content | {"settings": {"data": ["/some/4k/bin", "/some/8k/bin"]}}
    settings = parse(content).settings.values()  # shown without the machine's folders
    assert [str(setting) for setting in settings] == ["data=4k/bin", "data=8k/bin"]
    assert [setting.data for setting in settings] == ["/some/4k/bin", "/some/8k/bin"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"sample_sed": 1}, "there is no sample_sed: did you mean sample_seed"),
        ({"updates": "many"}, "updates = 'many' must be a whole number or a list"),
        ({"updates": True}, "updates = True must be a whole number or a list"),
        ({"updates": 0}, "updates = 0 must be above 0 and whole"),
        ({"updates": [1, 2.5]}, "must be above 0 and whole"),
        ({"updates": []}, "must be above 0"),
        ({"updates": [5, 5]}, "each rung must have more than the one before it"),
        ({"minutes": 3}, "either updates or minutes"),
        (
            {"strategy": "halving"},
            "strategy = 'halving' needs a list of budgets, one for each rung",
        ),
        ({"strategy": "grid", "updates": [1, 2]}, "strategy = 'grid' needs one budget"),
        ({"strategy": "hyperband"}, "choose from grid, halving"),
        ({"eta": 1}, "eta = 1 must be above 1"),
        ({"seeds": ["a"]}, "seeds = ['a'] must be whole numbers of at least 0"),
        ({"seeds": []}, "seeds = [] must be"),
        ({"seeds": 3}, "seeds = 3: give a list of seeds, [3] for that one"),
        ({"metric": "test_ppl"}, "metric = 'test_ppl': choose from ppl, nll_loss, loss, bleu"),
        ({"metric": "bleu"}, "metric = 'bleu' needs --eval-bleu in base"),
        ({"sample": 2}, "sample = 2: the grid has 1 settings"),
        ({"settings": {"lr": 1}}, "settings: lr = 1 must be a list of values"),
        ({"settings": {"lr": [1, "1"]}}, "has a value twice"),
        ({"settings": {"lr": [[1]]}}, "lr has [1], which is no text, number, true or false"),
        ({"settings": {"x": {"a": "'"}}}, 'x.a = "\'" must be the text of options'),
        (
            {"settings": {"data": ["bin"]}},
            "give data, the folder that fairseq-preprocess wrote, once",
        ),
        ({"settings": {"save-dir": ["x"]}}, "leave out --save-dir: the search gives it itself"),
        ({"base": "--max-update 7"}, "leave out --max-update: the search gives it itself"),
        ({"base": "--reset-optimizer"}, "leave out --reset-optimizer: a training has to go on"),
        (
            {"base": "--valid-subset test"},
            "leave out --valid-subset: a search sees the splits train",
        ),
        ({"base": "--valid-subset=test"}, "leave out --valid-subset: a search sees"),
        ({"settings": {"valid-subset": ["test"]}}, "leave out --valid-subset: a search sees"),
        ({"settings": {"m": {"t": "--train-subset test"}}}, "leave out --train-subset: a search"),
        ({"metric": "loss", "settings": {"label-smoothing": [0, 1]}}, "give ppl, which is not"),
        ({"metric": "loss", "settings": {"--criterion": ["a", "b"]}}, "give ppl, which is not"),
        (
            {"metric": "loss", "settings": {"x": {"a": "", "b": "--label-smoothing=0.1"}}},
            "give ppl, which is not",
        ),
        (
            {"base": "--x --lr 1", "settings": {"x": [True, False]}},
            "settings: x = false leaves out no --x that is given elsewhere in the table",
        ),
        ({"settings": {"--x": [False], "m": {"a": "--x"}}}, "false leaves out no --x"),
    ],
)
def test_what_is_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(PLAIN | content)
    assert message in str(refused.value)


def test_what_is_given_twice_and_may_be() -> None:
    """A later value is the one that counts; a loss is the same one with each of these."""
    twice = {"base": "--x 1", "settings": {"x": [0, 1], "y": [True, False]}}
    assert len(parse(PLAIN | twice | {"metric": "loss"}).settings) == 4


def test_other_data_have_other_pieces() -> None:
    with pytest.raises(UserError, match="other data have other pieces: give bleu"):
        parse({"updates": 1, "settings": {"data": ["a", "b"]}})


def test_a_budget_of_minutes_keeps_the_length_of_the_schedule() -> None:
    plain = {"data": "bin", "base": "--max-update 7", "minutes": [0.5, 2]}
    assert parse(plain).unit == "minutes"
    with pytest.raises(UserError, match="leave out --stop-time-hours"):
        parse(plain | {"base": "--stop-time-hours 1"})


def test_what_is_no_table(tmp_path: Path) -> None:
    table = tmp_path / "space.toml"
    with pytest.raises(UserError, match="cannot be read"):
        read(table)
    table.write_text("data = [")
    with pytest.raises(UserError, match="is no TOML"):
        read(table)
    table.write_text("data = 'x'")
    with pytest.raises(UserError, match=r"space.toml: give the budget"):
        read(table)
    table.write_text("data = 'x'\nupdates = 7\n", encoding="utf-8-sig")  # as editors on Windows do
    assert read(table).budgets == [7]


def test_the_example_of_the_documentation() -> None:
    text = (ROOT / "docs/training.md").read_text()
    [example] = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    space = parse(tomllib.loads(example))
    assert len(space.settings) == 12 and space.budgets == [600, 1200, 2400]
    listed = re.findall(r"^\| (`[^|]*) \|", text.partition("```toml")[2].partition("## ")[0], re.M)
    assert {name.strip("[]") for row in listed for name in re.findall("`(.*?)`", row)} == {*KEYS}
