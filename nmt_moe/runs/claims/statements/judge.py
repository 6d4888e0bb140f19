"""What the logs say of each comparison: shown, not shown, or opposite.

A difference counts if it is beyond the spread, each seed of one cell on one side of every seed of
the other; if there are three seeds of each; and if its p-value is below 0.05 after corrections. The
p-value is Welch's over the seeds, and of translations also that of the paired bootstrap over the
sentences, the larger of both. It is multiplied by the number of settings that were tried on the
same test text, and corrected by Holm for all comparisons of the same trainings.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.runs.claims import tables
from nmt_moe.runs.claims.logs import Log
from nmt_moe.runs.claims.results import load
from nmt_moe.runs.claims.statements import significance
from nmt_moe.runs.claims.statements.claim import NOT_SHOWN, OPPOSITE, SHOWN, Claim

LARGEST = 0.05
"""p-values below this one count."""
SEEDS = 3
"""As many seeds as a cell needs."""


@dataclass(frozen=True)
class Comparison:
    """A cell of a claim against the base."""

    claim: Claim
    cell: str
    base: list[float]
    """The figure of each seed of the base."""
    values: list[float]
    seeds: tuple[list[int], list[int]]
    """Of the base and of the cell."""
    bootstraps: list[float]
    p: float | None
    """Before corrections; None where a cell has too few seeds."""
    family: int = 0
    """With how many comparisons it was corrected."""
    corrected: float | None = None

    @property
    def verdict(self) -> str:
        if self.corrected is None or self.corrected >= LARGEST:
            return NOT_SHOWN
        if not significance.apart(self.base, self.values):
            return NOT_SHOWN
        lower = statistics.fmean(self.values) < statistics.fmean(self.base)
        return SHOWN if lower == (self.claim.better == "lower") else OPPOSITE

    @property
    def missing(self) -> str:
        """The cell that has no trainings, if one has none."""
        return "" if self.base and self.values else self.cell if self.base else self.claim.base


@dataclass
class Results:
    """The folders below ``results``, each read once."""

    root: Path
    _known: dict[str, tuple[tables.Run, dict[str, list[Log]]]] = field(default_factory=dict)

    def folder(self, name: str) -> tuple[tables.Run, dict[str, list[Log]]]:
        """``run.json``, and the trainings of each cell."""
        if name not in self._known:
            run, logs = load(self.root / name)
            self._known[name] = run, tables.by_cell(logs, run)
        return self._known[name]


def compare(claims: Sequence[Claim], results: Results) -> list[Comparison]:
    """All comparisons of the claims, in their order.

    Raises:
        UserError: a claim is not about what its results are.
    """
    found = [_one(claim, cell, results) for claim in claims for cell in claim.verdicts]
    corrected: dict[int, Comparison] = {}
    by_folder = sorted(range(len(found)), key=lambda place: found[place].claim.results)
    for _, places in groupby(by_folder, key=lambda place: found[place].claim.results):
        tested = [place for place in places if found[place].p is not None]
        values = [
            min(1.0, (found[place].p or 0) * max(1, len(found[place].claim.tried)))
            for place in tested
        ]
        for place, p in zip(tested, significance.holm(values), strict=True):
            corrected[place] = replace(found[place], family=len(tested), corrected=p)
    return [corrected.get(place, one) for place, one in enumerate(found)]


def _one(claim: Claim, cell: str, results: Results) -> Comparison:
    run, cells = results.folder(claim.results)
    column = claim.column(run["claim"])
    sides = [cells.get(name, []) for name in (claim.base, cell)]
    base, values = (tables.values(column, side, run) for side in sides)
    seeds = [[log.seed for log in side] for side in sides]
    for name, have in zip((claim.base, cell), seeds, strict=True):
        if have and not {*claim.seeds} <= {*have}:
            raise UserError(f"claim '{claim.name}': {name} has seeds {have}, not {claim.seeds}")
    folder = results.root / claim.results
    bootstraps = (
        significance.bootstraps(folder, claim.search, claim.base, cell) if claim.search else []
    )
    p = None
    if min(len(base), len(values)) >= SEEDS:
        p = significance.welch(base, values)
        if claim.search and len(bootstraps) < SEEDS:
            raise UserError(f"claim '{claim.name}': {folder} has no paired bootstrap of {cell}")
        if bootstraps:
            p = max(p, significance.of_seeds(bootstraps))
    return Comparison(claim, cell, base, values, (seeds[0], seeds[1]), bootstraps, p)
