"""What is chosen for an amount of text, a machine and a time: ``choices.toml`` has the table."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from fairseq.models import BaseFairseqModel

from nmt_moe.common.errors import UserError, suggestion
from nmt_moe.models.architectures import build, config
from nmt_moe.own_text import settings as by_user
from nmt_moe.own_text.machine import Machine
from nmt_moe.plan import counts, devices

TABLE = Path(__file__).with_name("choices.toml")
DAY = 24 * 3600.0
"""The seconds for everything, where no time is given."""
_REST = 0.15, 90, 900  # the share of the time after the training, at least and at most, in seconds
VALIDATIONS = 25
"""In a training that is not stopped early, and where they are not slow."""
_FEWEST = 100  # updates, below which nothing is learned
_VALIDATED = 4000  # wordpieces of a batch of a validation, at least
_WARMUP = 0.1  # the most of a training
_MEMORY = 0.5  # of the machine's, for weights, gradients and the optimizer's state
BESIDE = 270  # symbols of the dictionary that are no learned pieces: bytes, digits, special ones
# Guesses, in the place of which comes what a minute of the training has measured.
_PIECES, _SHORTEST = 1.5, 4  # wordpieces of a word, the fewest of a sentence
_FULL = 0.93  # of a batch, whose sentences have different lengths
_PASSES = 3  # over the weights in an update: forward, and twice as much backward


@dataclass(frozen=True, kw_only=True)
class Choices:
    """All that is chosen, with the reasons."""

    pairs: int
    """Of the training text; in a model of both directions twice as many."""
    size: str
    vocabulary: int
    settings: Mapping[str, str]
    """Options of ``fairseq-train`` by name, but for those of the fields below; a switch is true."""
    max_tokens: int
    updates: int
    patience: int
    warmup: int
    passes: float
    """The most passes over the text."""
    given: Mapping[str, str]
    """What ``--set`` has."""
    validations: int = VALIDATIONS
    translates: bool = True
    """Whether a validation of a translation shows BLEU."""
    seconds: float | None = None
    """Of the training, after which it ends; None: it takes as long as it does."""
    reasons: Sequence[str] = ()
    """Sentences for the user."""

    @property
    def options(self) -> list[str]:
        """The options of ``fairseq-train``, but for ``--max-update`` and ``--patience``."""
        own = {"max-tokens": f"{self.max_tokens}", "warmup-updates": f"{self.warmup}"}
        # A search takes as many steps for few sentences as for many, and keeps no gradients.
        valid = {"max-tokens-valid": f"{max(self.max_tokens, _VALIDATED)}"}
        return by_user.words({**valid, **self.settings, **own})

    @property
    def dropout(self) -> float:
        """On the output of every layer."""
        return float(self.settings["dropout"])

    @property
    def lr(self) -> float:
        """The highest learning rate."""
        return float(self.settings["lr"])

    @property
    def experts(self) -> int:
        """In each mixture."""
        return int(self.settings["moe-experts"])

    def fitted(
        self, updates_per_pass: float, most: float, per_second: float, why: str
    ) -> "Choices":
        """The same with as many updates as the time allows, and what depends on their number.

        Args:
            updates_per_pass: over the training text.
            most: updates for which the time suffices; negative where not even what is beside does.
            per_second: updates.
            why: about the time, a reason where this is what ends the training.

        Returns:
            Choices whose reasons are the new ones alone.

        Raises:
            UserError: the time is too short for any training.
        """
        wanted = math.ceil(self.passes * updates_per_pass)
        updates, reasons = min(wanted, int(most)), []
        if "updates" in self.given:
            updates = self.updates
        elif updates < (least := min(_FEWEST, wanted)):
            more = math.ceil((least - updates) / per_second / 60)
            raise UserError(
                f"{why}: that is too short for {self.pairs:,} pairs, give a --time that is {more} "
                f"minute{'s' * (more > 1)} longer"
            )
        elif updates < wanted:
            reasons.append(why)
        passes = updates / updates_per_pass
        settings, warmup = {**self.settings}, self.warmup
        if "dropout" not in self.given:
            settings["dropout"] = f"{_dropout(_row(self.pairs), passes):g}"
        if "warmup-updates" not in self.given:
            warmup = min(table()["sizes"][self.size]["warmup"], math.ceil(_WARMUP * updates))
        text = f"{updates:,} updates, {passes:,.1f} passes over the text"
        if settings["dropout"] != self.settings["dropout"]:
            text += f" and therefore dropout {settings['dropout']}"
        if updates < wanted and "updates" not in self.given:
            text += f"; a longer --time gives up to {self.passes:g} passes"
        reasons.append(f"{text}; fewer where {self.patience} validations in a row bring nothing")
        return replace(self, updates=updates, warmup=warmup, settings=settings, reasons=reasons)


@cache
def table() -> dict[str, Any]:
    """The content of ``choices.toml``."""
    return tomllib.loads(TABLE.read_text("utf-8"))


def choose(
    pairs: int,
    *,
    words: int,
    size: str | None = None,
    time: float | None = None,
    both: bool = False,
    machine: Machine,
    settings: Mapping[str, str],
) -> Choices:
    """Choose for so much text.

    Args:
        pairs: of the training text.
        words: of its target side; of languages without spaces any smaller number.
        size: one of the table; None: the largest that fits.
        time: seconds for everything; None: at most a day.
        both: whether the model translates both directions.
        machine: what trains.
        settings: what the user wants otherwise, as ``--set`` has it.

    Raises:
        UserError: there is no such size or option, or a value does not fit.
    """
    sizes = table()["sizes"]
    if size is not None and size not in sizes:
        raise UserError(f"there is no --size {size}: {suggestion(size, sizes)}")
    pieces = (max(_PIECES * words, _SHORTEST * pairs) + pairs) * (1 + both)
    pairs *= 1 + both
    row, training = _row(pairs), training_seconds(DAY if time is None else time)
    if training < _REST[1]:
        raise UserError(f"--time is too short for any training: give {_REST[1] / 30:.0f}m or more")
    names, smaller = list(sizes), []
    for name in [size] if size else names[names.index(row["size"]) :: -1]:
        chosen = _of(row, name, pairs, machine, settings)
        parameters, memory, rate = _cost(chosen, machine)
        if memory > _MEMORY * machine.memory:
            smaller = [f"size {name} needs more memory: a smaller one is taken"]
        elif rate * training < min(sizes[name]["wordpieces"], chosen.passes * pieces):
            smaller = [
                f"in {duration(training)} of training size {name} would see too few words: a "
                "smaller size learns more"
            ]
        else:
            break
    per_update = chosen.max_tokens * _FULL * _processes(chosen, machine)
    fitted = chosen.fitted(
        max(pieces / per_update, 1),
        max(rate * training / per_update, _FEWEST),
        rate / per_update,
        _why(training, time, f"about {rate:,.0f} wordpieces a second"),
    )
    first = [f"{machine}", *([] if size else smaller), *_described(chosen, row, parameters)]
    ends = None if time is None else training
    return replace(fitted, seconds=ends, reasons=[*first, *fitted.reasons])


def training_seconds(seconds: float) -> float:
    """What a training may take of the seconds for everything."""
    share, least, most = _REST
    return seconds - min(max(share * seconds, least), most)


def duration(seconds: float) -> str:
    """Seconds for people."""
    for unit, length in {"days": DAY, "hours": 3600, "minutes": 60}.items():
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} seconds"


def _why(training: float, time: float | None, speed: str) -> str:
    longer = " (a day is the most without --time)" if time is None else ""
    return f"{duration(training)} of training{longer} at {speed}"


def _row(pairs: int) -> dict[str, Any]:
    rows = table()["rows"]
    return next((row for row in rows if pairs <= row["pairs"]), rows[-1])


def _dropout(row: Mapping[str, Any], passes: float) -> float:
    short = [
        one["dropout"]
        for one in table()["short"]
        if passes < one["passes"] and row["pairs"] <= one["pairs"]
    ]
    return min([row["dropout"], *short])


def _of(
    row: Mapping[str, Any], name: str, pairs: int, machine: Machine, settings: Mapping[str, str]
) -> Choices:
    """What a row has, in a size, before the time is looked at."""
    size, common = table()["sizes"][name], table()["common"]
    experts = {"moe-experts": row["experts"], "moe-k": row["k"], "moe-groups": row["groups"]}
    if row["experts"] > size["experts"]:
        experts = {"moe-experts": size["experts"], "moe-k": size["k"], "moe-groups": 1}
    options = {key: size[key] for key in ("dim", "lstm-cells", "moe-hidden-dim", "optimizer", "lr")}
    options |= common | experts | table()["schedules"][row["schedule"]]
    options["dropout"] = row["dropout"]
    if machine.gpus:
        options["bf16" if machine.bf16 else "fp16"] = True
        options |= {"distributed-world-size": 1} if size["one_gpu"] else {}
    elif machine.bf16 and not any(name.endswith(("fp16", "bf16")) for name in settings):
        options["amp"] = True
    chosen = {
        key: f"{value}".lower() if value is True else f"{value}" for key, value in options.items()
    }
    given = by_user.checked(settings, chosen)
    own = {
        "vocabulary": min(row["vocabulary"], size["most"]),
        "max-tokens": size["batch_gpu" if machine.gpus else "batch"],
        "updates": 0,
        "passes": row["passes"],
        "patience": row["patience"],
        "warmup-updates": size["warmup"],
    }
    own |= {key: by_user.OWN[key].kind(value) for key, value in given.items() if key in own}
    return Choices(
        pairs=pairs,
        size=name,
        vocabulary=own["vocabulary"],
        settings=chosen | {key: value for key, value in given.items() if key not in own},
        max_tokens=own["max-tokens"],
        updates=own["updates"],
        patience=own["patience"],
        warmup=own["warmup-updates"],
        passes=own["passes"],
        given=given,
    )


def _described(chosen: Choices, row: Mapping[str, Any], parameters: int) -> list[str]:
    """Sentences about a row and a size."""
    options = chosen.settings
    layers = f"layers of width {options.get('dim')}, {parameters / 1e6:,.1f} million parameters"
    sources = ", ".join(dict.fromkeys([*row["sources"], *table()["sizes"][chosen.size]["sources"]]))
    reasons = [
        f"{chosen.pairs:,} pairs: {chosen.vocabulary:,} wordpieces, {chosen.experts} experts of "
        f"which a wordpiece sees {_active(options)}, dropout {options['dropout']} ({sources})",
        f"size {chosen.size}: {layers}; {options['optimizer']}, learning rate {options['lr']}, "
        f"batches of {chosen.max_tokens:,} wordpieces; no shared embeddings (results/tying)",
    ]
    if options.get("amp") == "true":
        reasons.append("products in bfloat16, which this processor has (docs/speed.md)")
    if chosen.given:
        said = ", ".join(f"{name}={value}" for name, value in chosen.given.items())
        reasons.append(f"as set: {said}")
    return reasons


def _active(options: Mapping[str, str]) -> int:
    k, groups = int(options["moe-k"]), int(options["moe-groups"])
    return k * k if groups > 1 else k


def _processes(chosen: Choices, machine: Machine) -> int:
    """One for each GPU that is used."""
    return int(chosen.settings.get("distributed-world-size", max(machine.gpus, 1)))


def _cost(chosen: Choices, machine: Machine) -> tuple[int, int, float]:
    """Parameters, bytes of a process without activations, and wordpieces in a second, a guess."""
    optimizer, processes = chosen.settings["optimizer"], _processes(chosen, machine)
    with torch.device("meta"):
        model = model_of(chosen.settings, chosen.vocabulary)
    held = devices.memory(model, processes if optimizer == "moe_adam" else 1)
    state = held.optimizer_state.get(optimizer, held.optimizer_state["adam"])
    speed = machine.multiply_adds
    if speed is None:
        one = table()["speed"]["gpu" if machine.gpus else "core"]
        speed = one * (processes if machine.gpus else machine.cores)
    return counts.parameters(model), held.weights + held.gradients + state, speed / work(model)


def model_of(settings: Mapping[str, Any], vocabulary: int) -> BaseFairseqModel:
    """An untrained model of some settings, in which others than the model's own may be."""
    known = vars(config(settings["arch"]))
    named = {name.replace("-", "_"): value for name, value in settings.items()}
    cfg = config(settings["arch"], {name: named[name] for name in known if name in named})
    return build(cfg, vocabulary + BESIDE)


def work(model: BaseFairseqModel) -> float:
    """The multiply-adds of a training with a wordpiece of source and target."""
    return _PASSES * sum(counts.operations(model).values())
