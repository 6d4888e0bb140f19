"""What a search has tried: ``tried.jsonl`` has a line for each training of each rung, ``tried.md``
is the same for people, the best setting first, with the spread over the seeds."""

import json
import shlex
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.progress import time_text
from nmt_moe.common.table import markdown
from nmt_moe.runs.claims.search.halving import ranked
from nmt_moe.runs.claims.search.space import METRICS, parse
from nmt_moe.runs.claims.search.training import Result, Training, without_folders

ROWS, TABLE, ABOUT = "tried.jsonl", "tried.md", "search.json"
Row = dict[str, Any]
_KEYS = {"setting", "values", "seed", "rung", "updates", "seconds", "best_update", "command"}
_FORMS = {"ppl": ".2f", "nll_loss": ".3f", "loss": ".3f", "bleu": ".2f"}


def row(training: Training, result: Result) -> Row:
    """A line of ``tried.jsonl``."""
    return {
        "setting": training.setting.number,
        "values": training.setting.values,
        "seed": training.seed,
        "rung": training.rung,
        "updates": result.updates,
        "seconds": round(result.seconds),
        "best_update": result.best_update,
        **{f"valid_{name}": value for name, value in result.figures.items()},
        **({"error": result.error} if result.error else {}),
        "command": training.command,
    }


def write(folder: Path, rows: Iterable[Row], about: Mapping[str, Any]) -> None:
    """Write both tables into a folder."""
    ordered = sorted(rows, key=lambda one: (one["rung"], one["setting"], one["seed"]))
    with atomic_write([folder / ROWS, folder / TABLE]) as (lines, table):
        lines.writelines(f"{json.dumps(one, ensure_ascii=False)}\n" for one in ordered)
        table.writelines(f"{line}\n" for line in shown(ordered, about))


def read(folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """The rows of a search, and what it was made with.

    Raises:
        UserError: the folder holds none, or no training of it has ended.
    """
    about = read_about(folder)
    if not about:
        raise UserError(f"{folder} is not the folder of a search: it has no {ABOUT}")
    path = folder / ROWS
    try:
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        rows = [_checked(json.loads(line)) for line in lines]
    except ValueError:
        raise UserError(f"{path} is damaged: the command of the search writes it anew") from None
    if not rows:
        raise UserError(f"{folder} holds no finished training yet")
    return rows, about


def _checked(one: Any) -> Row:
    if not isinstance(one, dict) or not _KEYS <= one.keys():
        raise ValueError
    return one


def read_about(folder: Path) -> dict[str, Any]:
    """What a search was made with; empty where there is none.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / ABOUT
    try:
        return json.loads(path.read_text("utf-8")) if path.is_file() else {}
    except ValueError:
        raise UserError(f"{path} is damaged: name another folder") from None


def shown(rows: Sequence[Row], about: Mapping[str, Any]) -> Iterator[str]:
    """The lines of ``tried.md``."""
    space = parse(about["space"])
    by_setting: dict[int, list[Row]] = {}
    for one in rows:
        by_setting.setdefault(one["setting"], []).append(one)
    last = {number: _of_last_rung(found) for number, found in by_setting.items()}
    names = [*next((one["values"] for one in rows), {})]
    metrics = [name for name in METRICS if any(f"valid_{name}" in one for one in rows)]
    heads = ["setting", *names, "rung", "seeds", "updates", *(f"valid {name}" for name in metrics)]
    heads += ["best after", "seconds"]
    lines = []
    for number in _ordered(last, space.metric, space.higher):
        found = last[number]
        good = [one for one in found if "error" not in one]
        cells = [str(number), *found[0]["values"].values(), str(found[0]["rung"])]
        cells += [" ".join(str(one["seed"]) for one in found), _range(found, "updates")]
        cells += [_mean(good, name) for name in metrics]
        cells += [_range(good, "best_update")]
        cells += [f"{sum(one['seconds'] for one in by_setting[number]):,}"]
        lines.append(cells)
    yield from markdown(heads, lines) if lines else ()
    failed: dict[str, dict[int, None]] = {}
    for one in rows:
        if "error" in one:
            failed.setdefault(one["error"], {})[one["setting"]] = None
    for error, numbers in failed.items():
        yield ""
        yield f"Failed, {', '.join(map(str, numbers))}: {error}"
    yield ""
    yield from _notes(rows, about)


def _of_last_rung(rows: Sequence[Row]) -> list[Row]:
    """Of a setting; all of its seeds."""
    rung = max(one["rung"] for one in rows)
    return [one for one in rows if one["rung"] == rung]


def _ordered(last: Mapping[int, Sequence[Row]], metric: str, higher: bool) -> Iterator[int]:
    """The settings: those that came furthest first, the best of these first, failed ones last."""
    for rung in sorted({rows[0]["rung"] for rows in last.values()}, reverse=True):
        scores = {
            number: score(rows, metric) for number, rows in last.items() if rows[0]["rung"] == rung
        }
        best = ranked(scores, higher)
        yield from best
        yield from (number for number in scores if number not in best)


def score(rows: Sequence[Row], metric: str) -> float | None:
    """The mean of a setting's seeds; None if one of them failed."""
    if not rows or any("error" in one for one in rows):
        return None
    return statistics.fmean(one[f"valid_{metric}"] for one in rows)


def _mean(rows: Sequence[Row], name: str) -> str:
    values = [one[f"valid_{name}"] for one in rows if f"valid_{name}" in one]
    if not values:
        return "-"
    mean = format(statistics.fmean(values), _FORMS[name])
    return f"{mean} ± {format(statistics.stdev(values), _FORMS[name])}" if values[1:] else mean


def _range(rows: Sequence[Row], name: str) -> str:
    values = sorted(one[name] for one in rows)
    if not values:
        return "-"
    return f"{values[0]:,}" if values[0] == values[-1] else f"{values[0]:,} to {values[-1]:,}"


def _notes(rows: Sequence[Row], about: Mapping[str, Any]) -> Iterator[str]:
    space, machine = about["space"], about["machine"]
    parsed = parse(space)
    number, trained = len(parsed.settings), sum(one["seconds"] for one in rows)
    rungs = " ".join(f"{budget:,}" for budget in parsed.budgets)
    how = f"a grid, {rungs} {parsed.unit} each"
    if len(parsed.budgets) > 1:
        start = ", each the beginning of the same training"
        if parsed.anew:
            start = ", each from the start with a schedule of its own"
        how = (
            f"successive halving, the best 1/{parsed.eta:g} go on, rungs of {rungs} "
            f"{parsed.unit}{start}"
        )
    sample = f", drawn with seed {space.get('sample_seed', 1)}" if "sample" in space else ""
    best = "highest" if parsed.higher else "lowest"
    yield (
        f"{number:,} settings{sample}; {how}. Chosen by the {best} valid {parsed.metric}, of each "
        "training's best validation; means of the seeds ± their standard deviation. Figures of "
        f"validation alone: the search sees no test set. {len(rows):,} trainings of a rung, "
        f"{time_text(trained)}."
    )
    if parsed.base:
        yield ""
        yield f"All have `{without_folders(shlex.join(parsed.base))}`."
    yield ""
    yield (
        f"Machine: {machine['device']}, {machine['cores']} cores, threads {about['threads']}, "
        f"CPython {machine['python']}, torch {machine['torch']}, fairseq {machine['fairseq']}. "
        f"Commit: {machine['commit']}. Commands, and each seed: `{ROWS}`."
    )
