"""The closing summary of a recipe: scores, seconds, balance of the experts, five sentences.

Reads the folder of a run (:mod:`nmt_moe.runs.folder`).
A run that is not finished gives a shorter summary.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from nmt_moe.common import logged
from nmt_moe.common.door import door
from nmt_moe.criterions.balanced import BalanceConfig
from nmt_moe.report import record
from nmt_moe.runs import folder

_EXAMPLES = 5
_WIDTH = 200  # characters of an example: a model at its start repeats itself without end


def scores(run: Path) -> Iterator[str]:
    """A line for each score: what it is, the figure, sacrebleu's signature."""
    for name, score in record.scores(run).items():
        label = f"{score['name']}, {name.replace('_', ' ')}"
        yield f"{label}: {score['score']:.2f}   {score['signature']}"


def seconds(run: Path) -> Iterator[str]:
    """A line for each finished stage, in the order of their ends, and one for all."""
    spent = record.seconds(run)
    for name, time in (spent | {"all": sum(spent.values())} if spent else {}).items():
        yield f"{name:14} {time:6,} s"


def balance(figures: dict[str, Any]) -> Iterator[str]:
    """A line for each mixture-of-experts layer, from the figures of a validation."""
    layers = logged.layers(figures)
    if not layers:
        return
    yield f"{'layer':14} {'CV importance':>14} {'CV load':>9} {'max/mean load':>14} {'unused':>7}"
    for layer in layers:
        importance, load, peak, unused = (
            _figure(figures, logged.of_layer(layer, name))
            for name in (logged.IMPORTANCE_CV, logged.LOAD_CV, logged.LOAD_MAX, logged.UNUSED)
        )
        yield (
            f"{layer.replace('_', ' '):14} {importance:>14} {load:>9} {peak:>14} "
            f"{unused.removesuffix('.00'):>7}"
        )


def attention(figures: dict[str, Any]) -> Iterator[str]:
    """Whether the decoder reads the source, from the figures of a validation."""
    stuck = figures.get(logged.of_split("valid", logged.of_attention(logged.STUCK)))
    if stuck is None:
        return
    entropy, top, last = (
        _figure(figures, logged.of_attention(name))
        for name in (logged.ENTROPY, logged.TOP_SHARE, logged.LAST_SHARE)
    )
    yield f"{entropy} bits, {top} of the weight on the top position, {last} on the last one"
    if float(stuck) > BalanceConfig.attention_dead_share:
        yield (
            f"it is DEAD: {float(stuck):.0%} of the steps stay with one position; "
            "see 'When attention dies' in docs/training.md"
        )


def _figure(figures: dict[str, Any], name: str) -> str:
    value = figures.get(logged.of_split("valid", name))
    return "-" if value is None else f"{float(value):.2f}"


def examples(run: Path) -> Iterator[str]:
    """Sentences and their translations, from the output of fairseq-interactive."""
    translated = run / "examples" / "translated.txt"
    if not translated.is_file():
        return
    sources = _lines(run / "examples" / "source.txt")
    lines = (line.split("\t", 2) for line in _lines(translated) if line.startswith("D-"))
    for source, fields in islice(zip(sources, lines, strict=False), _EXAMPLES):
        yield f"  {_short(source)}"
        yield f"  -> {_short(fields[-1])}"


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 4] + " ..."


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            yield line.rstrip("\n")


def summary(run: Path) -> Iterator[str]:
    """All lines of the summary.

    Raises:
        UserError: the folder does not hold a run.
    """
    folder.settings(run)
    yield f"== summary of {run}"
    yield from scores(run)
    yield from _paragraph("time", seconds(run))
    figures = record.validation(run)
    if figures is not None:
        yield from _paragraph(
            f"attention, validation after epoch {figures['epoch']}", attention(figures)
        )
        title = f"balance of the experts, validation after epoch {figures['epoch']}"
        yield from _paragraph(title, balance(figures))
    yield from _paragraph("examples", examples(run))
    where = {
        "checkpoint": run / "training" / folder.BEST,
        "translations": run / "translation" / "hypotheses.txt",
        "training log": run / "training" / folder.LOG,
        "report": run / "report" / "report.html",
        "record": run / folder.RECORD,
        "tensorboard": run / "training" / "tensorboard",
    }
    yield from _paragraph("files", (f"{k:14} {v}" for k, v in where.items() if v.exists()))


def _paragraph(title: str, lines: Iterator[str]) -> Iterator[str]:
    first = next(lines, None)
    if first is not None:
        yield ""
        yield f"{title}:"
        yield first
        yield from lines


main = door(__name__, "runs", "summary")
