"""Every number that users give has a declared range; outside of it a line names both.

The cases come from the configs and the command lines themselves.
"""

import argparse
import copy
import math
from dataclasses import fields
from functools import cache
from typing import Any, Union, get_args, get_origin

import pytest
from fairseq import criterions, optim
from fairseq.dataclass import FairseqDataclass
from fairseq.dataclass.constants import StrEnum
from fairseq.optim import lr_scheduler
from fairseq.options import get_training_parser, parse_args_and_arch
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import MOST, Range
from nmt_moe.criterions.label_smoothed import MoELabelSmoothedCrossEntropyConfig
from nmt_moe.models.architectures import build, config
from nmt_moe.models.config import LSTMMoEConfig, LSTMMoELanguageModelConfig
from nmt_moe.optim.fairseq_adam import FairseqMoEAdamConfig
from nmt_moe.optim.schedule import WarmupHoldInverseSqrtConfig
from nmt_moe.tasks.gnmt_translation import GNMTTranslationConfig, GNMTTranslationTask
from tests.models.build import SMALL, build_model, dictionary
from tests.parallel.trainer import configuration

NUMBERS = (int, float, list[int], list[float])
TEXTS = {  # lists that are text, each with some that are none
    "encoder_moe_after": ("0", "4", "x", "1.5", "-1", "1;2", "nan"),
    "decoder_moe_after": ("0", "3", "1,x"),
    "moe_after": ("0", "3", "1,,x"),
    "adaptive_softmax_cutoff": ("x", "0", "5,2", "1,,x"),
    "encoder_embed_path": ("nowhere.txt",),
    "decoder_embed_path": ("nowhere.txt",),
    "shortlist": ("nowhere", "."),
    "sentencepiece_model": ("nowhere", ".", __file__),
    "adam_betas": ("(0.9, 1)", "(-0.1, 0.9)", "0.9", "x", "(0.9, nan)", "(1, 2, 3)", ""),
}


def ours(kind: type = FairseqDataclass) -> set[type]:
    """The configs that this package defines."""
    found = {kind} if kind.__module__.startswith("nmt_moe.") else set()
    return found.union(*map(ours, kind.__subclasses__()))


def configs() -> set[type]:
    """Those of them that are not only a base of others."""
    models = {LSTMMoEConfig, LSTMMoELanguageModelConfig}
    architectures = {kind for kind in ours() if issubclass(kind, tuple(models))} - models
    return ours() - architectures - set(LSTMMoEConfig.__mro__[1:])


def type_of(one: Any) -> Any:
    """What a field holds where it holds something."""
    return get_args(one.type)[0] if get_origin(one.type) is Union else one.type


def own_fields(kind: type) -> list[Any]:
    """A config's fields but for those that it has from fairseq's, or whose value is another's."""
    theirs = [base for base in kind.__mro__ if base.__module__.startswith("fairseq.")]
    names = {name for base in theirs for name in getattr(base, "__dataclass_fields__", ())}
    own = [one for one in fields(kind) if one.name not in names]
    return [one for one in own if not str(one.default).startswith("${")]


def outside(allowed: Range) -> list[float]:
    """Numbers that are not in a range: next to its ends, far from them, and no numbers at all."""
    if allowed.kind is int:
        return [int(allowed.low) - 1, -MOST, int(allowed.high) + 1, 10**400]
    found = [math.nan, math.inf, -math.inf, math.nextafter(allowed.low, -math.inf), -1e300]
    if allowed.exclusive_low:
        found.append(allowed.low)
    if math.isfinite(allowed.high):
        found += [math.nextafter(allowed.high, math.inf), 1e300]
        found += [allowed.high] * allowed.exclusive_high
    return found


def edges(allowed: Range) -> list[float]:
    """The numbers at the ends of a range."""
    if allowed.kind is int:
        return [int(allowed.low), int(allowed.high)]
    low = math.nextafter(allowed.low, math.inf) if allowed.exclusive_low else allowed.low
    high = min(allowed.high, 1e300)
    return [low, math.nextafter(high, -math.inf) if allowed.exclusive_high else high]


def use(kind: type, name: str, value: Any) -> None:
    """Build what the config describes, as fairseq does, from all options of a training."""
    cfg = copy.deepcopy(configuration("--lr-scheduler", "warmup_hold_inverse_sqrt"))
    words = dictionary()
    if kind is LSTMMoEConfig:
        build(config("lstm_moe_tiny", SMALL | {name: value}), len(words))
    elif kind is LSTMMoELanguageModelConfig:
        build(config("lstm_moe_lm_tiny", SMALL | {name: value}), len(words))
    elif kind is GNMTTranslationConfig:
        task = GNMTTranslationTask(GNMTTranslationConfig(**{name: value}), words, words)
        if name == "sentencepiece_model":
            task.sampler()  # of a training
    elif kind is MoELabelSmoothedCrossEntropyConfig:
        cfg.criterion[name] = value
        task = TranslationTask(TranslationConfig(), words, words)
        criterions.build_criterion(cfg.criterion, task)
    elif kind is FairseqMoEAdamConfig:
        cfg.optimizer[name] = value
        optim.build_optimizer(cfg.optimizer, list(build_model().parameters()))
    elif kind is WarmupHoldInverseSqrtConfig:
        optimizer = optim.build_optimizer(cfg.optimizer, list(build_model().parameters()))
        cfg.lr_scheduler[name] = value
        lr_scheduler.build_lr_scheduler(cfg.lr_scheduler, optimizer)
    else:
        raise NotImplementedError(f"say here how {kind.__name__} is used")


def is_choice(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, StrEnum)


ALL = [
    (kind, one)
    for kind in sorted(configs(), key=lambda kind: kind.__name__)
    for one in own_fields(kind)
]
FIELDS, OTHERS = (
    [
        pytest.param(kind, one, id=f"{kind.__name__}-{one.name}")
        for kind, one in ALL
        if (type_of(one) in NUMBERS) == numbers
    ]
    for numbers in (True, False)
)


def test_all_configs_are_looked_at():
    assert {kind for kind, _ in (case.values for case in FIELDS)} == configs()
    assert len(FIELDS) > 30


@pytest.mark.parametrize(("kind", "one"), OTHERS)
def test_what_is_no_number(kind, one, capsys, tally):
    """A switch or one of several words; or text that is tried below."""
    assert one.type in (bool, str) or is_choice(one.type), f"{one.name}: is {one.type} a number?"
    if one.type is str:
        assert one.name in TEXTS, f"say above which values of {one.name} are none"
        return
    option = "--" + one.name.replace("_", "-")
    with pytest.raises(SystemExit):
        parser_with(kind).parse_args(["data", f"{option}=nothing"])
    last = capsys.readouterr().err.splitlines()[-1]
    if one.type is bool:
        assert f"error: argument {option}: ignored explicit argument 'nothing'" in last
    else:
        assert f"error: argument {option}: invalid choice: 'nothing'" in last
        assert all(word.value in last for word in one.type)
    tally(inputs=1)


@pytest.mark.parametrize(("kind", "one"), FIELDS)
def test_numbers_of_a_training(kind, one, tally):
    assert "range" in one.metadata, f"{kind.__name__}.{one.name} declares no range"
    allowed = one.metadata["range"]
    wrap = (lambda value: [value]) if "list" in str(one.type) else (lambda value: value)
    assert type_of(one) in (allowed.kind, list[allowed.kind])
    for value in outside(allowed):
        with pytest.raises(UserError) as error:
            use(kind, one.name, wrap(value))
        text = str(error.value)
        option = "--" + one.name.replace("_", "-")
        assert text.startswith(f"{option} must be ") and str(allowed) in text, text
        assert "\n" not in text
        tally(inputs=1)
    for value in edges(allowed):
        assert value in allowed
        try:
            if value == edges(allowed)[0] or kind not in (
                LSTMMoEConfig,
                LSTMMoELanguageModelConfig,
            ):
                use(kind, one.name, wrap(value))  # no model of that many layers
        except UserError as error:  # of options that do not fit together
            assert " must be " not in str(error), error
        tally(inputs=1)


@pytest.mark.parametrize("name", TEXTS)
def test_lists_of_a_training(name, tally):
    kinds = [kind for kind in configs() if name in {one.name for one in own_fields(kind)}]
    for kind in kinds:
        for value in TEXTS[name]:
            with pytest.raises(UserError) as error:
                use(kind, name, value)
            text = str(error.value)
            assert text.startswith("--" + name.replace("_", "-")) and "\n" not in text
            tally(inputs=1)
    assert kinds


def test_the_wrong_type_of_a_training(capsys, tally):
    """What fairseq's parser reads first; and each range is in ``--help``."""
    for kind, one in (case.values for case in FIELDS):
        if one.name in ("lr", "base_layers"):  # fairseq's own, and no option
            continue
        option = "--" + one.name.replace("_", "-")
        parser = parser_with(kind)
        for value in ("many", "", "1,2", "1e400x") + (
            ("1.5", "inf") if type_of(one) is int else ()
        ):
            with pytest.raises(SystemExit):
                parser.parse_args(["data", f"{option}={value}"])
            last = capsys.readouterr().err.splitlines()[-1]
            assert f"error: argument {option}: invalid {type_of(one).__name__} value: " in last
            tally(inputs=1)
        [action] = [one for one in parser._actions if option in one.option_strings]
        assert f"({one.metadata['range']})" in action.help


@cache
def parser_with(kind: type) -> argparse.ArgumentParser:
    """fairseq's parser of a training that has the options of a config, and of others."""
    choices = ["--criterion", "moe_label_smoothed_cross_entropy", "--optimizer", "moe_adam"]
    choices += ["--lr-scheduler", "warmup_hold_inverse_sqrt"]
    if kind is LSTMMoELanguageModelConfig:
        choices += ["--arch", "lstm_moe_lm", "--task", "language_modeling"]
    else:
        choices += ["--arch", "lstm_moe", "--task", "gnmt_translation"]
    parsers: list[argparse.ArgumentParser] = []
    parse_args_and_arch(get_training_parser(), ["data", *choices], modify_parser=parsers.append)
    return parsers[-1]
