"""Tables that compare the trainings of a run, each of which has a folder named after it in there.

``language-models`` is like the paper's table 7, ``gatings`` shows curves side by side. Both are
Markdown.
"""

import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary

from nmt_moe.common import logged, scripts
from nmt_moe.common.door import door
from nmt_moe.common.errors import UserError
from nmt_moe.common.lines import read_lines
from nmt_moe.common.table import markdown
from nmt_moe.models.architectures import build, saved_config
from nmt_moe.models.config import StackConfig
from nmt_moe.plan import counts
from nmt_moe.runs import folder
from nmt_moe.runs.training_log import intervals, last_validation

_EVALUATED = re.compile(
    r"Evaluated ([\d,]+) tokens.*Loss \(base 2\): (\S+), Perplexity: (\S+)", re.DOTALL
)
Combine = Callable[[list[float]], float]
_RECENT = 100  # updates at the end of a training whose balance is shown


def language_models(run: Path, names: Sequence[str]) -> Iterator[str]:
    """A row for each model: its size, what it cost, and its perplexity on the test text."""
    symbols = len(Dictionary.load(str(run / "binary" / "dict.txt")))
    # The end of a sentence is predicted as a word is, and counts as one.
    words = sum(scripts.words(line) + 1 for line in read_lines(run / "corpus" / "test.txt"))
    rows = []
    for name in names:
        cfg = saved_config(run / name / folder.BEST)
        with torch.device("meta"):
            model = build(cfg, symbols)
        pieces, bits, per_piece = evaluation(run / name / "test.log")
        log = folder.log(run / name)
        valid = last_validation(log) or {}
        unused = [_valid(logged.of_layer(layer, logged.UNUSED)) for layer in logged.layers(valid)]
        rows.append([
            _title(cfg),
            f"{sum(counts.operations(model).values()):,}",
            f"{counts.parameters_without_embedding_and_softmax(model):,}",
            f"{per_piece:.2f}",
            f"{2 ** (bits * pieces / words):.2f}",
            _combined([valid], unused, sum, ".0f"),
            _combined([valid], [_valid(logged.UPDATES)], max, ",.0f"),
            _combined(
                intervals(log).values(), [logged.UPDATES_PER_SECOND], statistics.median, ".1f"
            ),
            f"{folder.seconds(run / name):,}",
        ])  # fmt: skip
    heads = (
        "model, ops/timestep, parameters, ppl/piece, ppl/word, unused, updates, updates/s, seconds"
    )
    yield from markdown(heads.split(", "), rows)
    yield ""
    yield (
        f"Test perplexity of {pieces:,} wordpieces or {words:,} words, ends of sentences included. "
        "Parameters without embedding and softmax; experts unused in the last validation; "
        "the seconds are those of training, validation and test."
    )


def evaluation(log: Path) -> tuple[int, float, float]:
    """What fairseq-eval-lm printed: predicted pieces, bits and perplexity per piece."""
    match = _EVALUATED.search(log.read_text("utf-8", "replace"))
    if match is None:
        raise UserError(f"{log} is not what fairseq-eval-lm prints: remove its folder, run again")
    return int(match[1].replace(",", "")), float(match[2]), float(match[3])


def _title(cfg: StackConfig) -> str:
    if str(cfg.feed_forward) != "moe":
        return str(cfg.feed_forward)
    return f"MoE-{cfg.moe_experts}" + ("-h" if cfg.moe_groups > 1 else "")


def gatings(run: Path, names: Sequence[str]) -> Iterator[str]:
    """A column for each gating: its perplexities, and the balance of each layer's experts."""
    logs = [folder.log(run / name) for name in names]
    trainings = [intervals(log) for log in logs]
    validations = [[last_validation(log) or {}] for log in logs]
    recent = [
        [figures for update, figures in done.items() if update > max(done) - _RECENT]
        for done in trainings
    ]
    rows = [
        _row(
            f"training perplexity, update {update}",
            [[done.get(update, {})] for done in trainings],
            logged.PERPLEXITY,
        )
        for update in sorted({update for done in trainings for update in done})
    ]
    rows.append(_row("validation perplexity", validations, _valid(logged.PERPLEXITY)))
    for layer in logged.layers(validations[0][0]):
        cv, most, unused = (
            logged.of_layer(layer, name)
            for name in (logged.LOAD_CV, logged.LOAD_MAX, logged.UNUSED)
        )
        for when, name, records in (
            ("training", str, recent),
            ("validation", _valid, validations),
        ):
            where = f"{layer.replace('_', ' ')}, {when}"
            rows.append(_row(f"{where}: CV(load)", records, name(cv)))
            rows.append(_row(f"{where}: max/mean load", records, name(most)))
            rows.append(_row(f"{where}: unused experts", records, name(unused), max, ".0f"))
    yield from markdown(["", *names], rows)
    yield ""
    yield (
        f"Balance in training: of the last {_RECENT} updates, the mean over the log's lines; "
        "of unused experts, the line that has most. The load of a noisy gate in training is "
        "its smooth estimate."
    )


def _valid(figure: str) -> str:
    return logged.of_split("valid", figure)


def _row(
    title: str,
    columns: Sequence[Sequence[dict[str, Any]]],
    key: str,
    combine: Combine = statistics.fmean,
    form: str = ".2f",
) -> list[str]:
    """What some records say of a figure, in one number for each column."""
    return [title, *(_combined(records, [key], combine, form) for records in columns)]


def _combined(
    records: Iterable[dict[str, Any]], keys: Sequence[str], combine: Combine, form: str
) -> str:
    values = [float(figures[key]) for figures in records for key in keys if key in figures]
    return format(combine(values), form) if values else "-"


main = door(__name__, "runs", "series")
