"""From what fairseq reads to one checkpoint: the stages choices, measure, training, average."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt_moe.common import logged
from nmt_moe.common.lines import read_lines
from nmt_moe.own_text.request import PLUGIN, Request, Work, read, write
from nmt_moe.own_text.text import its_start
from nmt_moe.runs.folder import BEST, LOG
from nmt_moe.runs.steps import MODEL as WORDPIECES
from nmt_moe.score.bleu import tokenizer

if TYPE_CHECKING:
    from nmt_moe.own_text.choices import Choices

FINE_TUNED = 0.25
"""Of the learning rate that a model was trained with, where it is trained on."""
AVERAGED = 4
"""The checkpoints whose mean is tried."""
CHECKPOINT, CHOICES = "checkpoint.pt", "choices.json"
_LOSS = logged.of_split("valid", logged.LOSS)


def check(request: Request) -> None:
    """Raise a :class:`UserError` for a size, a setting or a time that does not do, before text is
    read."""
    if request.size or request.settings or request.seconds is not None:
        _by_size(request, {"pairs": 1000, "words": 10_000})


def choose(work: Work, found: Mapping[str, int]) -> "Choices":
    """The stage choices: for so much text, and this machine as it was then.

    Args:
        found: the ``pairs`` and ``words`` of the training text.
    """
    request = work.request
    made: dict[str, Any] = {"pairs": found["pairs"], "words": found["words"], "size": request.size}
    made |= {"seconds": request.seconds, "both": request.both, "settings": request.settings}
    made |= its_start(work)
    work.stages.do("choices", made, partial(_choose, work, found))
    return _chosen(work, "choices")


def _choose(work: Work, found: Mapping[str, int], folder: Path) -> None:
    request = work.request
    write(folder / CHOICES, asdict(_by_size(request, found, bool(request.measure))))


def _by_size(request: Request, found: Mapping[str, int], measured: bool = False) -> "Choices":
    from nmt_moe.own_text.choices import choose as by_size
    from nmt_moe.own_text.choices import table
    from nmt_moe.own_text.machine import Machine
    from nmt_moe.own_text.speed import multiply_adds

    start = _of_start(request.start)
    sizes = {f"{one['dim']}": name for name, one in reversed(table()["sizes"].items())}
    size, machine = sizes.get(start.get("dim", ""), request.size), Machine.here()
    if measured and size is None:
        machine = replace(machine, multiply_adds=multiply_adds(machine))
    return by_size(
        found["pairs"],
        words=found["words"],
        size=size,
        time=request.seconds,
        both=request.both,
        machine=machine,
        settings=start | dict(request.settings),
    )


def _of_start(model: Path | None) -> dict[str, str]:
    """The settings of a model to go on from, whose weights need the same; learned more slowly."""
    if model is None:
        return {}
    from nmt_moe.models.architectures import config
    from nmt_moe.own_text.choices import BESIDE

    settings = read(model / "model.json")["settings"]
    known = {name.replace("_", "-") for name in vars(config(settings["arch"]))} - {"dropout"}
    kept = {name: value or "true" for name, value in settings.items() if name in known}
    lr = float(settings["lr"]) * FINE_TUNED
    pieces = sum(1 for _ in read_lines(next(model.glob("dict.*.txt")))) - BESIDE
    return kept | {"vocabulary": f"{max(pieces, 300)}", "arch": settings["arch"], "lr": f"{lr:g}"}


def _chosen(work: Work, stage: str) -> "Choices":
    """What a stage has chosen; it is said with its reasons."""
    from nmt_moe.own_text.choices import Choices

    chosen = Choices(**read(work.path(stage, CHOICES)))
    for reason in chosen.reasons:
        work.screen.say(f"  {reason}")
    return chosen


def measured(work: Work, choices: "Choices") -> "Choices":
    """The stage measure: as many updates as the time allows, by a short training."""
    if not work.request.measure:
        return choices
    made = {"choices": asdict(choices), "seconds": work.request.measure}
    work.stages.do("measure", made, partial(_measure, work, choices), ["choices", "binary"])
    found = _chosen(work, "measure")
    return replace(found, reasons=[*choices.reasons, *found.reasons])


def _measure(work: Work, choices: "Choices", folder: Path) -> None:
    from nmt_moe.own_text.estimate import measure

    for left in folder.glob("measured-*"):
        shutil.rmtree(left)  # of a try that was killed
    bleu, binary = _bleu(work), work.path("binary")
    given = [*_languages(work), *bleu]
    estimate = measure(binary, choices, work.request.measure, options=given, folder=folder)
    seconds = work.request.seconds
    if seconds is not None:
        seconds -= time.monotonic() - work.begun
    fitted = estimate.fit(choices, seconds, translates=bool(bleu))
    write(folder / CHOICES, asdict(fitted))


def train(work: Work, choices: "Choices") -> list[str]:
    """The stages training and average; returns the options of the training."""
    options = training_options(work, choices)
    work.stages.do(
        "training",
        {"options": options},
        partial(_training, work, options, choices.updates),
        ["binary"],
    )
    work.stages.do(
        "average", {"checkpoints": AVERAGED}, partial(_average, work), ["training", "binary"]
    )
    return options


def training_options(work: Work, choices: "Choices") -> list[str]:
    """What ``fairseq-train`` is given, without files and folders."""
    every = max(choices.updates // choices.validations, 1)
    options = [
        *_languages(work),
        *("--seed", work.request.seed, *choices.options),
        *("--max-update", choices.updates, "--patience", choices.patience),
        # Saved and validated every so many updates, and not at the end of an epoch too.
        *("--save-interval-updates", every, "--keep-interval-updates", AVERAGED),
        *("--save-interval", 1_000_000, "--validate-interval", 1_000_000),
        "--no-epoch-checkpoints",
        *("--log-format", "json", "--log-interval", max(min(every, 100) // 4, 1)),
        *(_bleu(work) if choices.translates else []),
    ]
    if choices.seconds:  # where the machine becomes slower than it was measured
        options += ["--stop-time-hours", f"{choices.seconds / 3600:.4f}"]
    if work.request.start:
        options += ["--finetune-from-model", work.request.start / "model.pt"]
    return [str(option) for option in options]


def _languages(work: Work) -> list[str]:
    source, target = work.request.sides
    return ["--source-lang", source, "--target-lang", target]


def _bleu(work: Work) -> list[str]:
    """Options that show BLEU beside the perplexity, where the target languages have spaces."""
    if any(tokenizer(target) != "13a" for _, target in work.request.directions):
        return []
    search = '{"beam": 1, "max_len_a": 1.2, "max_len_b": 10}'
    return ["--eval-bleu", "--eval-bleu-args", search, "--eval-bleu-remove-bpe", "sentencepiece"]


def _training(work: Work, options: list[str], updates: int, folder: Path) -> None:
    work.programs.run(
        folder / LOG,
        *("fairseq-train", work.path("binary"), *PLUGIN, "--save-dir", folder, *options),
        *("--tensorboard-logdir", folder / "tensorboard"),
        follow=lambda lines: work.screen.training(lines, updates),
    )


def _average(work: Work, folder: Path) -> None:
    """The mean of the last checkpoints, or the best one if its validation loss is lower."""
    from nmt_moe.checkpoint.record import Checkpoint

    mean, trained, log = folder / "mean.pt", work.path("training"), folder / "output.log"
    average = ("nmt-moe", "checkpoint", "average", trained, "--last", AVERAGED)
    work.programs.run(log, *average, "--out", mean, "--force")
    validated = folder / "validated.log"
    validated.unlink(missing_ok=True)
    work.programs.run(
        validated,
        *(
            "fairseq-validate",
            work.path("binary"),
            *PLUGIN,
            "--task",
            "translation",
            "--path",
            mean,
        ),
        *("--valid-subset", "valid", "--batch-size", 32, "--log-format", "json"),
    )
    # The log lacks what a training did after its `nmt-moe train` was killed.
    best = float(Checkpoint.complete(trained / BEST).state["extra_state"]["best"])
    averaged = float(_validations(validated)[-1][_LOSS])
    kept = averaged < best
    if not kept:
        shutil.copyfile(trained / BEST, mean)
    mean.replace(folder / CHECKPOINT)
    shutil.copyfile(work.path("wordpieces", "model.model"), folder / WORDPIECES)
    for dictionary in work.path("binary").glob("dict.*.txt"):
        shutil.copyfile(dictionary, folder / dictionary.name)
    what = "the mean of the last checkpoints" if kept else "the best checkpoint"
    work.screen.say(
        f"  {what} is kept: validation loss {averaged:.3f} of the mean, {best:.3f} of the best one"
    )


def _validations(log: Path) -> list[dict[str, Any]]:
    """The figures of each validation that a log has."""
    found = []
    for line in log.read_text("utf-8", "replace").splitlines():
        start = line.find("{")
        if f'"{_LOSS}"' in line and start >= 0 and line.endswith("}"):
            found.append(json.loads(line[start:]))
    return found
