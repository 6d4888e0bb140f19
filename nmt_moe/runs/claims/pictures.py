"""The pictures of the claims, as SVG that is the same whenever it is drawn of the same logs."""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure as Picture

from nmt_moe.common import logged
from nmt_moe.common.files import atomic_write
from nmt_moe.runs.claims.logs import Log
from nmt_moe.runs.claims.statements.significance import interval
from nmt_moe.runs.claims.tables import FIGURES, PAIRS, Figure, Run, by_cell, values

Cells = Mapping[str, list[Log]]


def draw(run: Run, logs: list[Log], path: Path) -> None:
    """Draw what a claim shows."""
    second = run["claim"] == "translation" and "test1" in run["text"]
    panels = PANELS[run["claim"]] + (OF_SECOND_TEXT if second else [])
    rows = 1 if len(panels) < 4 else 2
    columns = len(panels) // rows
    with saved(path, (5 * columns, 3.8 * rows)) as picture:
        axes = picture.subplots(rows, columns, squeeze=False)
        for panel, axis in zip(panels, axes.flat, strict=True):
            panel(axis, by_cell(logs, run), run)


@contextmanager
def saved(path: Path, inches: tuple[float, float]) -> Iterator[Picture]:
    """A picture of this width and height to draw in, which is then written."""
    style: Any = {"svg.hashsalt": "nmt_moe", "svg.fonttype": "none", "font.size": 9}
    with rc_context(style):
        picture = Picture(figsize=inches, layout="constrained")
        yield picture
        with atomic_write([path], "wb") as [file]:
            picture.savefig(file, format="svg", metadata={"Date": None})


def against_experts(head: str) -> Callable[..., None]:
    """A panel with a figure against the number of experts: seeds as dots, a line of means.

    The dense model is a line across; models of other kinds are not shown, unless there are only
    such: then dots.
    """

    def panel(axes: Any, cells: Cells, run: Run) -> None:
        if not any(name.removesuffix("-h").isdecimal() for name in cells):
            dots(head)(axes, cells, run)
            return
        figure = _figure(run, head)
        lines: dict[str, list[tuple[int, float]]] = {}
        sizes = set()
        for name, logs in cells.items():
            numbers = values(figure, logs, run)
            digits = name.removesuffix("-h")
            if not numbers:
                continue
            if name.startswith("dense"):
                axes.axhline(statistics.fmean(numbers), color="grey", linestyle=":", label=name)
            if not digits.isdecimal():
                continue
            kind = "flat" if name == digits else "hierarchical"
            lines.setdefault(kind, []).append((int(digits), statistics.fmean(numbers)))
            sizes.add(int(digits))
            axes.plot([int(digits)] * len(numbers), numbers, "k.", markersize=3, zorder=3)
        for kind, points in lines.items():
            axes.plot(*zip(*sorted(points), strict=True), marker="o", markersize=4, label=kind)
        if sizes:
            axes.set_xscale("log")
            axes.set_xticks(sorted(sizes), list(map(str, sorted(sizes))))
            axes.set_xticks([], minor=True)
        axes.set(xlabel="experts", ylabel=head)
        axes.legend(fontsize=8)

    return panel


def dots(head: str, log: bool = False) -> Callable[..., None]:
    """A panel with a line for each cell: a dot for each seed, a bar at their mean."""

    def panel(axes: Any, cells: Cells, run: Run) -> None:
        found = {name: values(_figure(run, head), logs, run) for name, logs in cells.items()}
        for name, numbers in found.items():
            if numbers:
                axes.plot(numbers, [name] * len(numbers), "k.", markersize=4)
                axes.plot(statistics.fmean(numbers), name, "|", color="tab:blue", markersize=16)
        axes.invert_yaxis()
        axes.grid(axis="y", linewidth=0.5)
        if log:
            axes.set_xscale("log")
        axes.set(xlabel=head)

    return panel


def by_pair(axes: Any, cells: Cells, run: Run) -> None:
    """BLEU of each pair of languages: a dot for each seed, a line of means for each cell."""
    for name, logs in cells.items():
        found = {pair: values(_figure(run, f"BLEU {pair}"), logs, run) for pair in PAIRS}
        found = {pair: numbers for pair, numbers in found.items() if numbers}
        means = [statistics.fmean(numbers) for numbers in found.values()]
        [line] = axes.plot([*found], means, marker="_", label=name)
        for pair, numbers in found.items():
            axes.plot([pair] * len(numbers), numbers, ".", color=line.get_color(), markersize=4)
    axes.tick_params(axis="x", labelrotation=60)
    axes.set(ylabel="BLEU")
    axes.legend(fontsize=8)


def curves(axes: Any, cells: Cells, run: Run) -> None:
    """The validation perplexity against the wordpieces read in training.

    Means of the seeds in bands of 95% confidence, those of the logarithm: so none is below zero.
    """
    for name, logs in cells.items():
        curve = [log.curve(logged.of_split("valid", logged.PERPLEXITY)) for log in logs]
        common = sorted(set.intersection(*(set(found) for found in curve)))
        # It is that of the last lines of training; it hardly changes.
        line = logs[0].last("train_inner", logged.PIECES_PER_BATCH)
        pieces = float(line.figures[logged.PIECES_PER_BATCH]) if line else 1.0
        read = [update * pieces / 1e6 for update in common]
        seeds = [[math.log(found[update]) for found in curve] for update in common]
        means = [*map(statistics.fmean, seeds)]
        [drawn] = axes.plot(read, [*map(math.exp, means)], marker=".", label=name)
        if len(logs) > 1:
            halves = [*map(interval, seeds)]
            low, high = (
                [math.exp(mean + sign * half) for mean, half in zip(means, halves, strict=True)]
                for sign in (-1, 1)
            )
            axes.fill_between(read, low, high, color=drawn.get_color(), alpha=0.2, linewidth=0)
    axes.set(
        xlabel="wordpieces read in training, millions",
        ylabel="validation perplexity",
        yscale="log",
    )
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend(fontsize=8)


def _figure(run: Run, head: str) -> Figure:
    return next(figure for figure in FIGURES[run["claim"]] if figure.head == head)


PANELS: dict[str, list[Callable[..., None]]] = {
    "capacity": [against_experts("test ppl/piece"), curves],
    "balance": [
        dots("test ppl/piece"),
        dots("CV(importance), training", log=True),
        dots("CV(load), training", log=True),
        dots("max/mean load, training", log=True),
        dots("CV(load), test", log=True),
        curves,
    ],
    "gating": [dots("test ppl/piece"), curves],
    "translation": [
        dots("BLEU, fairseq's search"),
        dots("BLEU, GNMT's search"),
        against_experts("test ppl/piece"),
        curves,
    ],
    "tying": [dots("valid ppl/piece"), curves],
    "precision": [dots("valid ppl/piece"), curves],
    "multilingual": [by_pair, dots("mean BLEU"), curves],
    "cost": [
        against_experts("ms/update"),
        against_experts("ms/update, weights at least"),
        against_experts("peak memory, MiB"),
    ],
}
OF_SECOND_TEXT = [dots("2nd text: BLEU, fairseq's search"), dots("2nd text: BLEU, GNMT's search")]
"""What else to draw of translations of a second test text."""
