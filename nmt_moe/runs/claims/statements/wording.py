"""The sentences and the table of a claim, with every figure from the logs.

In a sentence there are no digits but those that its braces take from the data: ``{what|...}``, see
``Wording.FIGURES``. What is said of a cell's difference stands under the cell's own verdict.
"""

import json
import re
import statistics
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.common.table import markdown
from nmt_moe.runs.claims import tables
from nmt_moe.runs.claims.statements.claim import CHOSEN, VERDICTS, Claim
from nmt_moe.runs.claims.statements.judge import LARGEST, Comparison, Results
from nmt_moe.runs.claims.statements.significance import apart

BRACES = re.compile(r"\{([^{}]*)\}")


class Wording:
    """What the figures of one claim are, by the words in braces."""

    def __init__(self, claim: Claim, comparisons: Sequence[Comparison], results: Results) -> None:
        self.claim, self.results = claim, results
        self.comparisons = {one.cell: one for one in comparisons if one.claim == claim}
        self.run, self.cells = results.folder(claim.results)
        self.form = claim.column(self.run["claim"]).form
        self.figures: dict[str, Callable[..., str]] = {
            "base": self._base,
            "mean": self._mean,
            "change": self._change,
            "less": lambda cell: self._change(cell).lstrip("+-"),
            "p": lambda cell: shown_p(self._of(cell).corrected),
            "significant": self._significant,
            "apart": self._apart,
            "best": self._best,
            "pairs": self._pairs,
            "cell": lambda cell: f"`{self._trained(cell)}`",
            "column": self._column,
            "option": self._option,
            "log": self._log,
            "tried": lambda: str(len(claim.tried)),
            "text": lambda split, what: f"{self._text(split, what):,}",
        }
        """``base``, the mean of the base. Of a cell ``mean``, ``change`` and ``less``, its
        difference to the base with and without its sign, ``p``, corrected, ``significant``, how
        many of its bootstraps are, and ``apart``, whether all of its seeds are beyond the base's;
        ``best``, the cell with the best mean, and ``pairs``, of how many pairs of languages a
        cell's mean BLEU is above the base's. ``cell``, and ``column|CELL|HEAD``, any figure of a
        table; ``option|CELL|NAME`` of its trainings. ``log|FILE|TAG|KEY``, the last one in a log.
        ``tried``, the number of settings. ``text|SPLIT|lines`` or ``words`` or ``pieces``, without
        ends of lines."""

    ABOUT = frozenset({"mean", "change", "less", "p", "significant", "apart"})
    """Of these the cell has to have the verdict that the sentence stands under."""

    def fill(self, text: str, verdict: str = "") -> str:
        """A text with its figures.

        Args:
            text: with braces.
            verdict: of the cells that it is about; any, where it is empty.

        Raises:
            UserError: it has figures of its own, or such as the data do not have.
        """
        outside = BRACES.sub("", text)
        if digits := re.findall(r"\S*\d\S*", outside):
            raise self._error(f"'{digits[0]}' is a figure of its own, not one of the data")

        def figure(found: re.Match[str]) -> str:
            name, *words = found[1].split("|")
            if verdict and name in self.ABOUT and self._of(*words[:1]).verdict != verdict:
                raise self._error(f"{{{found[1]}}} stands under '{verdict}', where it is not")
            try:
                return self.figures[name](*words)
            except (KeyError, TypeError, IndexError):
                raise self._error(f"there is no figure {{{found[1]}}}") from None

        return " ".join(BRACES.sub(figure, text).split())

    def _error(self, text: str) -> UserError:
        return UserError(f"claim '{self.claim.name}': {text}")

    def _of(self, cell: str = "") -> Comparison:
        if cell not in self.comparisons:
            raise self._error(f"'{cell}' is not compared")
        return self.comparisons[cell]

    def _trained(self, cell: str) -> str:
        if cell not in self.run["cells"]:
            raise self._error(f"the grid has no cell '{cell}'")
        return cell

    def _base(self) -> str:
        return mean(next(iter(self.comparisons.values())).base, self.form)

    def _mean(self, cell: str) -> str:
        return mean(self._of(cell).values, self.form)

    def _change(self, cell: str) -> str:
        return change(self._of(cell))

    def _significant(self, cell: str) -> str:
        found = self._of(cell).bootstraps
        return f"{sum(p < LARGEST for p in found)} of {len(found)}"

    def _apart(self, cell: str) -> str:
        one = self._of(cell)
        beyond = apart(one.base, one.values)
        return "each seed beyond all of the others" if beyond else "with seeds that overlap"

    def _best(self) -> str:
        best = min if self.claim.better == "lower" else max
        found = best(self.comparisons.values(), key=lambda one: statistics.fmean(one.values))
        return f"`{found.cell}`"

    def _pairs(self, cell: str) -> str:
        heads = [f"BLEU {pair}" for pair in tables.PAIRS]
        columns = [one for one in tables.FIGURES[self.run["claim"]] if one.head in heads]
        both = [
            [tables.values(one, self.cells[name], self.run) for name in (self.claim.base, cell)]
            for one in columns
        ]
        means = [[statistics.fmean(values) for values in two] for two in both if all(two)]
        return f"{sum(here > base for base, here in means)} of {len(means)}"

    def _column(self, cell: str, head: str) -> str:
        columns = {one.head: one for one in tables.FIGURES[self.run["claim"]]}
        column = columns[head]
        return mean(tables.values(column, self.cells[cell], self.run), column.form)

    def _option(self, cell: str, name: str) -> str:
        options = self.cells[cell][0].about["options"] + self.run["settings"]["common"].split()
        value = options[options.index(f"--{name}") + 1] if f"--{name}" in options else None
        if value is None:
            raise self._error(f"{cell} has no --{name}")
        return f"{int(value):,}" if value.isdecimal() else str(value)

    def _log(self, file: str, tag: str, key: str = "") -> str:
        number = last(self.results.root / file, tag, key)
        return f"{float(number):.2f}" if key.endswith("ppl") else number

    def _text(self, split: str, what: str) -> int:
        text = self.run["text"][split]
        return int(text[what]) - (0 if what == "lines" else int(text["lines"]))


def last(path: Path, tag: str, key: str) -> str:
    """The last figure of a kind in any log; ``tag`` may be the words before a colon, too.

    Raises:
        UserError: there is none.
    """
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    for line in reversed(lines):
        if key and (found := re.search(rf"(?:^|\| INFO \| ){re.escape(tag)} \| (\{{.*\}})$", line)):
            figures = json.loads(found[1])
            if key in figures:
                return str(figures[key])
        if not key and (found := re.match(rf"{re.escape(tag)} : ([\d.]+)$", line)):
            return found[1]
    raise UserError(f"{path} has no figure {tag} {key}".rstrip())


def mean(numbers: Sequence[float], form: str) -> str:
    """A mean and a standard deviation, as in the tables."""
    if not numbers:
        return "-"
    shown = format(statistics.fmean(numbers), form)
    varies = len(set(numbers)) > 1
    return f"{shown} ± {format(statistics.stdev(numbers), form)}" if varies else shown


def change(one: Comparison) -> str:
    """The difference of the means: of BLEU as it is, of others in percent of the base's."""
    if one.missing:
        return "-"
    base, value = statistics.fmean(one.base), statistics.fmean(one.values)
    if "BLEU" in one.claim.figure or not base:
        return f"{value - base:+.2f}"
    return f"{100 * (value / base - 1):+.1f}%"


def shown_p(p: float | None) -> str:
    """A p-value with as many digits as say something."""
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def table(comparisons: Sequence[Comparison], form: str) -> Iterator[str]:
    """A row for each cell of a claim."""
    first = comparisons[0]
    heads = [first.claim.figure, first.claim.base, "here", "difference", "seeds", "p"]
    rows = [
        [one.cell, mean(one.base, form), mean(one.values, form), change(one)]
        + [f"{len(one.seeds[1])}, {len(one.seeds[0])}", shown_p(one.p), shown_p(one.corrected)]
        + [one.verdict]
        for one in comparisons
    ]
    yield from markdown([*heads, "corrected", "verdict"], rows)


def paragraphs(claim: Claim, comparisons: Sequence[Comparison], results: Results) -> Iterator[str]:
    """What a page says of a claim."""
    own = [one for one in comparisons if one.claim == claim]
    wording = Wording(claim, comparisons, results)
    about = f"{claim.better} would be yes. Settings: {CHOSEN[claim.chosen]}"
    if claim.tried:
        about += f", where {len(claim.tried)} were tried"
    family = max(one.family for one in own)
    if family:
        about += f". Corrected for {family} comparisons of these trainings"
    yield f"*{claim.question}* Against `{claim.base}`, {about}."
    yield ""
    yield from table(own, wording.form)
    yield ""
    said = [
        f"**{verdict[0].upper()}{verdict[1:]}**: "
        + wording.fill(claim.sentences[verdict], verdict).strip()
        for verdict in VERDICTS
        if verdict in claim.sentences
    ]
    if claim.remark:
        said.append(wording.fill(claim.remark))
    yield "\n".join(_wrapped(" ".join(said)))


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)
