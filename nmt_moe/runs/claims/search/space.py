"""The space of a search: a table in TOML.

=============  ======================================================================
``data``       the folder that ``fairseq-preprocess`` wrote
``base``       options of ``fairseq-train`` for all trainings, as text
``updates``    the budget of a training; of successive halving a list, one for each rung
``minutes``    the same in minutes of training, in its place
``strategy``   ``grid`` or ``halving``
``eta``        of ``halving``: the best 1/eta of a rung go on (2)
``anew``       of ``halving``: each rung trains from the start (false)
``seeds``      each setting is trained with all of them (1)
``metric``     of validation, by which settings are compared: ``ppl``, ``nll_loss``, ``loss`` or
               ``bleu`` (``ppl``)
``sample``     so many settings at random, instead of all
``sample_seed``  of that choice (1)
=============  ======================================================================

``[settings]`` has the options that are searched, each with the list of its values: a number or text
is the option's, ``true`` gives the option, ``false`` leaves it out. A table instead of a list,
``{name = "--options"}``, chooses between groups of options. ``data`` may be there, too.
"""

import itertools
import math
import os
import random
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmt_moe.common import logged
from nmt_moe.common.errors import UserError, suggestion
from nmt_moe.common.lines import unreadable

METRICS = {logged.PERPLEXITY: False, logged.CROSS_ENTROPY: False, logged.LOSS: False, "bleu": True}
"""Figures of a validation, and whether a higher one is better."""

KEYS: dict[str, tuple[type, ...]] = {
    **{"data": (str,), "base": (str,), "updates": (int, list), "minutes": (int, float, list)},
    **{"strategy": (str,), "eta": (int, float), "anew": (bool,), "seeds": (list, int)},
    **{"metric": (str,), "sample": (int,), "sample_seed": (int,), "settings": (dict,)},
}
"""What a table may have."""
_OURS = "the search gives it itself"
_GOES_ON = "a training has to go on from where it was"
_TEST = "a search sees the splits train and valid of its data, and nothing else"
_REFUSED = {
    **dict.fromkeys(["--save-dir", "--seed", "--log-format", "--user-dir"], _OURS),
    **dict.fromkeys(["--restore-file", "--no-save", "--no-last-checkpoints"], _GOES_ON),
    **dict.fromkeys(["--checkpoint-suffix", "--log-file", "--no-progress-bar"], _GOES_ON),
    **dict.fromkeys(["--train-subset", "--valid-subset", "--extra-data"], _TEST),
    "--disable-validation": "settings are compared by their validations",
}
_SEED = range(2**32)


@dataclass(frozen=True)
class Setting:
    """A point of the space."""

    number: int
    """In the whole grid, from 1."""
    values: dict[str, str]
    """As they are shown, by the names in the table."""
    options: list[str]
    data: str

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.values.items()) or "base"


@dataclass(frozen=True)
class Space:
    """A search, as its table has it."""

    content: dict[str, Any]
    base: list[str]
    settings: dict[int, Setting]
    """By their numbers."""
    budgets: list[float]
    """Of the rungs, each of the whole training until there."""
    unit: str
    """``updates`` or ``minutes``."""
    eta: float
    anew: bool
    seeds: list[int]
    metric: str

    @property
    def higher(self) -> bool:
        """Whether a higher figure is better."""
        return METRICS[self.metric]

    @property
    def data(self) -> list[str]:
        """The folders of all settings."""
        return [*dict.fromkeys(setting.data for setting in self.settings.values())]


def read(path: Path) -> Space:
    """Read a table.

    Raises:
        UserError: it is none, or has something that no search can have.
    """
    try:
        return parse(tomllib.loads(path.read_text("utf-8-sig")))
    except OSError as error:
        raise unreadable(path, error) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no TOML: {error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def parse(content: Mapping[str, Any]) -> Space:
    """The space of a table's content; raises as :func:`read`."""
    for name, value in content.items():
        if name not in KEYS:
            raise UserError(f"there is no {name}: {suggestion(name, KEYS)}")
        if not isinstance(value, KEYS[name]) or (isinstance(value, bool) and name != "anew"):
            kinds = " or ".join(_NAMES[kind] for kind in KEYS[name] if kind in _NAMES)
            raise UserError(f"{name} = {value!r} must be {kinds}")
    unit, budgets = _budgets(content)
    base = _words("base", content.get("base", ""), unit)
    metric = content.get("metric", logged.PERPLEXITY)
    if metric not in METRICS:
        raise UserError(f"metric = {metric!r}: choose from {', '.join(METRICS)}")
    eta = content.get("eta", 2)
    if not 1 < eta < math.inf:
        raise UserError(f"eta = {eta} must be above 1: the best 1/eta of a rung go on")
    _check_switches(content)
    settings = _settings(content, unit)
    space = Space(
        dict(content), base, settings, budgets, unit, eta, content.get("anew", False),
        _seeds(content.get("seeds", 1)), metric,
    )  # fmt: skip
    _check_metric(space)
    return space


_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    bool: "true or false",
}
_NAMES |= {dict: "a table, [settings]"}


def _budgets(content: Mapping[str, Any]) -> tuple[str, list[float]]:
    given = [name for name in ("updates", "minutes") if name in content]
    if len(given) != 1:
        raise UserError("give the budget of a training, either updates or minutes")
    [unit] = given
    value = content[unit]
    budgets = value if isinstance(value, list) else [value]
    kinds = (int,) if unit == "updates" else (int, float)
    if not all(type(one) in kinds and 0 < one < math.inf for one in budgets) or not budgets:
        raise UserError(f"{unit} = {value} must be above 0{' and whole' * (unit == 'updates')}")
    if any(one >= other for one, other in itertools.pairwise(budgets)):
        raise UserError(f"{unit} = {value}: each rung must have more than the one before it")
    strategy = content.get("strategy", "halving" if len(budgets) > 1 else "grid")
    if strategy not in ("grid", "halving"):
        raise UserError(f"strategy = {strategy!r}: choose from grid, halving")
    if (strategy == "grid") != (len(budgets) == 1):
        need = "one budget" if strategy == "grid" else "a list of budgets, one for each rung"
        raise UserError(f"strategy = {strategy!r} needs {need}, not {unit} = {value}")
    return unit, [*budgets]


def _seeds(value: Any) -> list[int]:
    seeds = value if isinstance(value, list) else [value]
    if not seeds or any(type(seed) is not int or seed not in _SEED for seed in seeds):
        raise UserError(f"seeds = {value} must be whole numbers of at least 0")
    if type(value) is int and value > 1:  # which of the two is meant?
        raise UserError(f"seeds = {value}: give a list of seeds, [{value}] for that one")
    return [*dict.fromkeys(seeds)]


def _settings(content: Mapping[str, Any], unit: str) -> dict[int, Setting]:
    """Those of the grid that are wanted."""
    choices = [_choices(name, value, unit) for name, value in content.get("settings", {}).items()]
    if ("data" in content) == ("data" in content.get("settings", {})):
        raise UserError("give data, the folder that fairseq-preprocess wrote, once")
    total = math.prod(map(len, choices))
    number = content.get("sample", total)
    if not 0 < number <= total:
        raise UserError(f"sample = {number}: the grid has {total:,} settings")
    wanted: Sequence[int] = range(total)
    if "sample" in content:
        wanted = sorted(random.Random(content.get("sample_seed", 1)).sample(wanted, number))
    return {place + 1: _setting(place, choices, content.get("data", "")) for place in wanted}


_Choice = tuple[str, str, list[str]]
"""Of a name a value, as it is shown, and the options that it is; of data the folder."""


def _check_switches(content: Mapping[str, Any]) -> None:
    """Refuse ``false`` for an option that is given elsewhere: that leaves nothing out."""
    searched = content.get("settings", {})
    groups = [one for one in searched.values() if isinstance(one, dict)]
    texts = [content.get("base", ""), *(text for group in groups for text in group.values())]
    words = {word for text in texts if isinstance(text, str) for word in text.split()}
    for name, value in searched.items():
        option = f"--{name.removeprefix('--')}"
        given = isinstance(value, list) and any(one is False for one in value)
        if given and option in words:
            raise UserError(
                f"settings: {name} = false leaves out no {option} that is given elsewhere in the "
                "table: take it away there"
            )


def _choices(name: str, value: Any, unit: str) -> list[_Choice]:
    if not isinstance(value, list | dict) or not value:
        raise UserError(f"settings: {name} = {value!r} must be a list of values")
    if isinstance(value, dict):
        return [
            (name, str(key), _words(f"{name}.{key}", text, unit)) for key, text in value.items()
        ]
    shown = [_shown(name, one) for one in value]
    if len({*shown}) < len(shown):
        raise UserError(f"settings: {name} = {value!r} has a value twice")
    if name == "data":
        return [
            (name, one, [path]) for one, path in zip(_below_the_same(shown), shown, strict=True)
        ]
    option = f"--{name.removeprefix('--')}"
    _refuse(option, unit)
    return [
        (name, text, _of_switch(option, one) if isinstance(one, bool) else [option, text])
        for text, one in zip(shown, value, strict=True)
    ]


def _below_the_same(folders: Sequence[str]) -> list[str]:
    """Folders without what comes before in all of them, as that is one of this machine."""
    start = os.path.commonpath([os.path.dirname(os.path.abspath(one)) for one in folders])
    return [os.path.relpath(one, start) for one in folders]


def _of_switch(option: str, given: bool) -> list[str]:
    return [option] if given else []


def _shown(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if not isinstance(value, str | int | float):
        raise UserError(f"settings: {name} has {value!r}, which is no text, number, true or false")
    return f"{value}"


def _setting(place: int, choices: Sequence[Sequence[_Choice]], data: str) -> Setting:
    """The setting at a place of the grid, in which the last name changes soonest."""
    number, chosen = place + 1, []
    for choice in reversed(choices):
        place, here = divmod(place, len(choice))
        chosen.append(choice[here])
    chosen.reverse()
    values = {name: value for name, value, _ in chosen}
    folders = [word for name, _, words in chosen if name == "data" for word in words]
    options = [word for name, _, words in chosen if name != "data" for word in words]
    return Setting(number, values, options, folders[0] if folders else data)


def _words(name: str, text: Any, unit: str) -> list[str]:
    try:
        words = shlex.split(text)
    except (ValueError, AttributeError):
        raise UserError(f"{name} = {text!r} must be the text of options") from None
    for word in words:
        if re.match("--[a-z]", word):
            _refuse(word.partition("=")[0], unit)
    return words


def _refuse(option: str, unit: str) -> None:
    ours = {"updates": "--max-update", "minutes": "--stop-time-hours"}[unit]
    why = _OURS if option == ours else _REFUSED.get(option)
    if option.startswith("--reset-"):
        why = _GOES_ON
    if why:
        raise UserError(f"leave out {option}: {why}")


def _check_metric(space: Space) -> None:
    """Refuse to compare what cannot be compared."""
    metric = space.metric
    words = [*space.base, *(word for one in space.settings.values() for word in one.options)]
    if metric == "bleu" and "--eval-bleu" not in words:
        raise UserError("metric = 'bleu' needs --eval-bleu in base")
    for option in ("--label-smoothing", "--criterion"):
        given = {_last_given(option, one.options) for one in space.settings.values()}
        if metric == logged.LOSS and len(given) > 1:
            raise UserError(
                f"metric = 'loss' is another one for each {option[2:]}: give ppl, which is not"
            )
    if metric != "bleu" and len(space.data) > 1:
        raise UserError(
            f"metric = {metric!r} is of a piece, and other data have other pieces: give bleu"
        )


def _last_given(option: str, words: Sequence[str]) -> str:
    """The value of an option, the last one; nothing where it is not given."""
    value, plain = "", [part for word in words for part in word.split("=", 1)]
    for word, following in itertools.pairwise(plain):
        value = following if word == option else value
    return value
