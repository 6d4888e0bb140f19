"""The tables: which figures of the logs each claim shows, and how seeds are put together."""

import csv
import io
import itertools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nmt_moe.common.logged import (
    CROSS_ENTROPY,
    IMPORTANCE_CV,
    LOAD_CV,
    LOAD_MAX,
    PERPLEXITY,
    PIECES_PER_SECOND,
    UNUSED,
    UPDATES,
    UPDATES_PER_SECOND,
    of_layer,
    of_split,
)
from nmt_moe.common.table import markdown
from nmt_moe.corpus.multi30k import LANGUAGES as MULTI30K
from nmt_moe.runs.claims.logs import Log

Run = dict[str, Any]
"""The content of ``run.json``."""


@dataclass(frozen=True)
class Figure:
    """A column: a figure of the last line of its kind in a log."""

    head: str
    tag: str
    key: str
    form: str = ".2f"
    change: Callable[[float, Run], float] = lambda value, run: value
    """What makes the number to show from the one in the log."""


def _per_word(bits: float, run: Run) -> float:
    test = run["text"]["test"]
    return float(2 ** (bits * test["pieces"] / test["words"]))


def _balance(layer: str, tag: str) -> list[Figure]:
    """The columns of table 6 about a layer, in training or in the test."""
    when = "test" if tag == "test" else "training"

    def of(figure: str) -> str:
        name = of_layer(layer, figure)
        return of_split(tag, name) if tag == "test" else name

    return [
        Figure(f"CV(importance), {when}", tag, of(IMPORTANCE_CV)),
        Figure(f"CV(load), {when}", tag, of(LOAD_CV)),
        Figure(f"max/mean load, {when}", tag, of(LOAD_MAX)),
        Figure(f"unused, {when}", tag, of(UNUSED), ".1f"),
    ]


_PERPLEXITY = Figure("test ppl/piece", "test", of_split("test", PERPLEXITY))
_VALID_PERPLEXITY = Figure("valid ppl/piece", "valid", of_split("valid", PERPLEXITY))
_SECOND_PERPLEXITY = Figure("2nd text: ppl/piece", "test1", of_split("test1", PERPLEXITY))
_PER_WORD = Figure("per word", "test", of_split("test", CROSS_ENTROPY), ".2f", _per_word)
_OPERATIONS = Figure("ops/timestep", "about", "operations", ",.0f")
_PARAMETERS = Figure("parameters", "about", "parameters", ",.0f")
_ALL_PARAMETERS = Figure("all parameters", "about", "all_parameters", ",.0f")
_SECONDS = Figure("seconds", "about", "seconds", ",.0f")
_MEAN_BLEU = Figure("mean BLEU", "pairs", "mean")
PAIRS = [f"{source}-{target}" for source, target in itertools.permutations(MULTI30K, 2)]
"""Each has a column with its BLEU."""
_UPDATES = Figure("updates", "valid", of_split("valid", UPDATES), ",.0f")
_TIME = Figure("ms/update", "train_inner", UPDATES_PER_SECOND, ",.0f", lambda ups, run: 1000 / ups)

FIGURES: dict[str, list[Figure]] = {
    "capacity": [
        _OPERATIONS, _PARAMETERS, _PERPLEXITY, _PER_WORD,
        *(_balance("decoder_1", "test")[place] for place in (1, 3)),
        _UPDATES,
    ],
    "balance": [_PERPLEXITY, *_balance("decoder_1", "train_inner"), *_balance("decoder_1", "test")],
    "gating": [
        _OPERATIONS, _PARAMETERS, _PERPLEXITY, _PER_WORD,
        *_balance("decoder_1", "train_inner"), *_balance("decoder_1", "test"),
    ],
    "translation": [
        _OPERATIONS, _ALL_PARAMETERS,
        Figure("BLEU, fairseq's search", "fairseq", "score"),
        Figure("BLEU, GNMT's search", "gnmt", "score"),
        _PERPLEXITY,
        Figure("2nd text: BLEU, fairseq's search", "fairseq1", "score"),
        Figure("2nd text: BLEU, GNMT's search", "gnmt1", "score"),
        _SECOND_PERPLEXITY, _UPDATES,
        _SECONDS,
    ],
    "tying": [
        _OPERATIONS, _ALL_PARAMETERS,
        _VALID_PERPLEXITY, _PERPLEXITY, _SECOND_PERPLEXITY, _UPDATES,
    ],
    "precision": [
        _VALID_PERPLEXITY, _PERPLEXITY, _SECOND_PERPLEXITY,
        Figure("BLEU, weights in float32", "gnmt", "score"),
        Figure("BLEU, weights in int8", "packed", "score"),
        Figure("2nd text: BLEU, weights in float32", "gnmt1", "score"),
        Figure("2nd text: BLEU, weights in int8", "packed1", "score"),
        _UPDATES, _SECONDS,
    ],
    "multilingual": [
        _OPERATIONS, _ALL_PARAMETERS,
        _MEAN_BLEU, *(Figure(f"BLEU {pair}", "pairs", pair) for pair in PAIRS),
        _VALID_PERPLEXITY, _PERPLEXITY,
        *(
            Figure(f"{layer}: bits of the language", "experts", f"{layer} bits")
            for layer in ("encoder.2", "decoder.1")
        ),
        _UPDATES, _SECONDS,
    ],
    "cost": [
        _OPERATIONS, _PARAMETERS, _TIME,
        Figure("ms/update, weights at least", "about", "weights_ms", ",.0f"),
        Figure("tokens/s", "train_inner", PIECES_PER_SECOND, ",.0f"),
        Figure("peak memory, MiB", "about", "peak_mib", ",.0f"),
    ],
}  # fmt: skip
COMPARED = {claim: [_PERPLEXITY] for claim in FIGURES} | {
    "translation": [_PERPLEXITY, _SECOND_PERPLEXITY],
    "tying": [_VALID_PERPLEXITY, _PERPLEXITY],
    "precision": [_VALID_PERPLEXITY, _PERPLEXITY],
    "multilingual": [_MEAN_BLEU, _PERPLEXITY],
    "cost": [_TIME],
}
"""Of which figures a claim shows the difference to its first cell, in percent."""


def values(figure: Figure, logs: list[Log], run: Run) -> list[float]:
    """The numbers to show of some trainings, those that have the figure."""
    lines = [line for log in logs if (line := log.last(figure.tag, figure.key))]
    return [figure.change(float(line.figures[figure.key]), run) for line in lines]


def by_cell(logs: list[Log], run: Run) -> dict[str, list[Log]]:
    """The trainings of each cell by seed, in the order of the grid."""
    ordered = sorted(logs, key=lambda log: log.seed)
    cells = {name: [log for log in ordered if log.cell == name] for name in run["cells"]}
    return {name: found for name, found in cells.items() if found}


def table(claim: str, logs: list[Log], run: Run) -> Iterator[str]:
    """A row for each cell: the means of its seeds, and their standard deviation.

    Without the columns for which no log has a figure.
    """
    figures = [figure for figure in FIGURES[claim] if values(figure, logs, run)]
    compared = [figure for figure in COMPARED[claim] if figure in figures]
    cells = by_cell(logs, run)
    first = next(iter(cells))
    heads = ["", *(figure.head for figure in figures), "seeds"]
    heads += [f"{figure.head} against {first}" for figure in compared]
    rows = []
    for name, found in cells.items():
        row = [name, *(_shown(values(figure, found, run), figure.form) for figure in figures)]
        row.append(" ".join(str(log.seed) for log in found))
        row += [
            _change(values(figure, found, run), values(figure, cells[first], run))
            for figure in compared
        ]
        rows.append(row)
    yield from markdown(heads, rows)


def _shown(numbers: list[float], form: str) -> str:
    if not numbers:
        return "-"
    mean = format(statistics.fmean(numbers), form)
    if len(set(numbers)) == 1:
        return mean
    return f"{mean} ± {format(statistics.stdev(numbers), form)}"


def _change(numbers: list[float], base: list[float]) -> str:
    if not (numbers and base and any(base)):  # a BLEU of 0 has no share
        return "-"
    return f"{100 * (statistics.fmean(numbers) / statistics.fmean(base) - 1):+.1f}%"


def rows(claim: str, logs: list[Log], run: Run) -> str:
    """All figures as CSV: as they stand in the log, with its name and the number of the line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["cell", "seed", "figure", "value", "log", "line", "key"])
    for log in (log for found in by_cell(logs, run).values() for log in found):
        for figure in FIGURES[claim]:
            line = log.last(figure.tag, figure.key)
            if line:
                value, place = line.figures[figure.key], f"logs/{log.path.name}"
                writer.writerow(
                    [log.cell, log.seed, figure.head, value, place, line.number, figure.key]
                )
    return text.getvalue()
