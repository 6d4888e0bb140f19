"""The named architectures, as data: each is a set of options that differ from the defaults.

The paper's models keep its names: the number of experts, with ``h`` for a hierarchy.
"""

from collections.abc import Callable, Mapping
from dataclasses import field, fields, make_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, SimpleNamespace
from typing import Any, get_args

import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, MODEL_DATACLASS_REGISTRY, register_model
from fairseq.tasks import TASK_REGISTRY
from torch import nn

from nmt_moe.common.errors import UserError, suggestion
from nmt_moe.fairseq_fixes import start_checks, training_options
from nmt_moe.models import fairseq_options, language_model, translation
from nmt_moe.models.config import LSTMMoEConfig, LSTMMoELanguageModelConfig, StackConfig, fit
from nmt_moe.models.task import check_task

_TINY = dict(dim=128, lstm_cells=128, moe_experts=8, moe_k=2, moe_hidden_dim=256, dropout=0.1)
_WMT14 = dict(moe_gating="strictly_balanced")
_HIERARCHY = dict(moe_groups=16, moe_k=2)
_34M = dict(dim=1024, lstm_cells=1024, moe_hidden_dim=2048)
_143M = dict(dim=1024, lstm_cells=4096, moe_hidden_dim=8192)

# Appendix E. The defaults: 2048 cells and experts of 2048, 32 of them, k = 4, noisy top-k.
TRANSLATION: dict[str, dict[str, Any]] = {
    translation.NAME: dict(),
    "lstm_moe_tiny": dict(_TINY),  # for CPUs and tests
    "lstm_moe_wmt14_dense": dict(feed_forward="none"),
    "lstm_moe_wmt14_32": dict(_WMT14, moe_experts=32, moe_k=4),
    "lstm_moe_wmt14_512h": dict(_WMT14, moe_experts=512, **_HIERARCHY),
    "lstm_moe_wmt14_2048h": dict(_WMT14, moe_experts=2048, **_HIERARCHY),
    "lstm_moe_multilingual": dict(moe_experts=512, moe_k=2, moe_hidden_dim=8192),
}

# Appendices C and D. The defaults: 512 cells and experts of 1024, 32 of them, k = 4.
LANGUAGE: dict[str, dict[str, Any]] = {
    language_model.NAME: dict(),
    "lstm_moe_lm_tiny": dict(_TINY),  # for CPUs and tests
    "lstm_lm_4x512": dict(feed_forward="none", layers=4),
    "lstm_lm_2048_512": dict(feed_forward="none", layers=1, lstm_cells=2048),
    "lstm_moe_lm_1_wide": dict(feed_forward="dense"),
    "lstm_moe_lm_1_deep": dict(feed_forward="deep"),
    "lstm_moe_lm_4": dict(moe_experts=4),
    "lstm_moe_lm_32": dict(moe_experts=32),
    "lstm_moe_lm_256": dict(moe_experts=256),
    "lstm_moe_lm_256h": dict(moe_experts=256, **_HIERARCHY),
    "lstm_moe_lm_1024h": dict(moe_experts=1024, **_HIERARCHY),
    "lstm_moe_lm_4096h": dict(moe_experts=4096, **_HIERARCHY),
    "lstm_moe_lm_16384h": dict(moe_experts=16384, moe_groups=128, moe_k=2),
    "lstm_moe_lm_65536h": dict(moe_experts=65536, moe_groups=256, moe_k=2),
    "lstm_moe_lm_131072h": dict(moe_experts=131072, moe_groups=256, moe_k=2),
    "lstm_moe_lm_34m": dict(_34M, moe_experts=1024, **_HIERARCHY),
    "lstm_moe_lm_143m": dict(_143M, moe_experts=256, **_HIERARCHY),
}


def config(arch: str, overrides: Mapping[str, object] = {}) -> StackConfig:
    """The options of an architecture.

    Args:
        arch: its name.
        overrides: options by name, such as ``moe_experts``, that replace the architecture's; values
            may be text.

    Raises:
        UserError: the architecture or an option is unknown, or a value has the wrong type.
    """
    if arch not in TRANSLATION | LANGUAGE:
        raise _unknown("architecture", arch, [*TRANSLATION, *LANGUAGE])
    cfg = MODEL_DATACLASS_REGISTRY[arch]()
    types = {option.name: option.type for option in fields(cfg) if option.name[0] != "_"}
    for name, value in overrides.items():
        if name not in types:
            raise _unknown(f"option of {arch}", name, list(types))
        setattr(cfg, name, _coerced(name, value, types[name]))
    fit(cfg, overrides)
    cfg._name = arch
    return cfg


def saved_config(checkpoint: Path) -> StackConfig:
    """The options of the model in a checkpoint, whose tensors are not read."""
    saved = torch.load(str(checkpoint), map_location="cpu", mmap=True, weights_only=True)
    found = dict(saved["cfg"]["model"])
    return config(found.pop("_name"), found)


def build(cfg: StackConfig, vocabulary: int) -> nn.Module:
    """Build the model for dictionaries of ``vocabulary`` symbols, fairseq's special ones included.

    Inside ``with torch.device("meta")`` the model takes no memory, whatever its size.

    Raises:
        UserError: the options contradict each other.
    """
    words = dictionary(vocabulary)
    task = SimpleNamespace(source_dictionary=words, target_dictionary=words)
    if isinstance(cfg, LSTMMoEConfig):
        return translation.LSTMMoEModel.build_model(cfg, task)
    return language_model.LSTMMoELanguageModel.build_model(cfg, task)


@cache
def dictionary(vocabulary: int) -> Dictionary:
    """A dictionary of ``vocabulary`` symbols, fairseq's special ones included."""
    words = Dictionary()
    for number in range(vocabulary - len(words)):
        words.add_symbol(f"w{number}")
    return words


def _unknown(kind: str, name: str, known: list[str]) -> UserError:
    return UserError(f"there is no {kind} named {name!r}: {suggestion(name, known)}")


def _coerced(name: str, value: object, kind: Any) -> Any:
    """Convert a value to the type of its option."""
    if isinstance(None, kind):
        if value is None:
            return None
        [kind] = set(get_args(kind)) - {NoneType}
    text = str(value)
    if kind is bool:
        known = {"true": True, "false": False}
        if text.lower() in known:
            return known[text.lower()]
        raise UserError(f"{name} must be true or false, not {text!r}")
    if issubclass(kind, Enum):
        choices = [choice.value for choice in kind]
        if text in choices:
            return text
        raise UserError(f"{name} must be one of {', '.join(choices)}, not {text!r}")
    try:
        return kind(text)
    except ValueError:
        raise UserError(f"{name} must be of type {kind.__name__}, not {text!r}") from None


def _configure(arch: str) -> Callable[[Any], None]:
    """The function that fairseq calls with all options of a training of this architecture.

    fairseq may call it again with the model's options alone, when it builds the model. Options that
    an older checkpoint does not know then get the defaults of the architecture.
    """

    def apply(args: Any) -> None:
        if "task" in args:
            # Before the data is read: a wrong task may fail there with another message.
            check_task(arch, TASK_REGISTRY[args.task], arch in LANGUAGE)
            own = [option.name for option in fields(MODEL_DATACLASS_REGISTRY[arch])]
            for name, value in fairseq_options.translated(vars(args), own).items():
                setattr(args, name, value)
            start_checks.check_options(args)
            training_options.configure(args)
        given = [name for name in vars(config(arch)) if name in args]
        for name, value in vars(config(arch)).items():
            # What is None may be an option of the criterion, too, which then keeps its default.
            if name in args or value is not None or "task" not in args:
                setattr(args, name, getattr(args, name, value))
        fit(args, given)

    return apply


def _options(base: type[StackConfig], arch: str, defaults: Mapping[str, Any]) -> type[StackConfig]:
    """The dataclass of an architecture: that of its model with other defaults."""
    known = {option.name: option for option in fields(base)}
    changed = [
        (name, known[name].type, field(default=value, metadata=known[name].metadata))
        for name, value in defaults.items()
    ]
    return make_dataclass(arch, changed, bases=(base,), namespace={"__module__": __name__})


def _register(model: type, base: type[StackConfig], named: Mapping[str, Mapping]) -> None:
    """Make each architecture a model of fairseq's with a dataclass of its own. fairseq takes the
    defaults from there where a configuration names it, in YAML too, and Hydra knows its name."""
    for arch, defaults in named.items():
        register_model(arch, dataclass=_options(base, arch, defaults))(model)
        ARCH_CONFIG_REGISTRY[arch] = _configure(arch)  # register_model adds one that does nothing
    setattr(model, "__dataclass", base)  # as fairseq names it: the parser's options


_register(translation.LSTMMoEModel, LSTMMoEConfig, TRANSLATION)
_register(language_model.LSTMMoELanguageModel, LSTMMoELanguageModelConfig, LANGUAGE)
