"""A claim, as ``results/claims.toml`` has it."""

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from nmt_moe.common.errors import UserError
from nmt_moe.runs.claims.tables import FIGURES, Figure

SHOWN, NOT_SHOWN, OPPOSITE = "shown", "not shown", "opposite"
VERDICTS = (SHOWN, NOT_SHOWN, OPPOSITE)
CHOSEN = {
    "test text": "chosen on the test text",
    "validation": "chosen on validation text",
    "defaults": "not searched for with this text",
    "unknown": "chosen before the grid, by trials that were not kept",
}
"""What a claim's settings may have been chosen on, and how a page says it."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Cells of a grid against another one, in one figure."""

    name: str
    question: str
    results: str
    """The folder of the results."""
    figure: str
    """The head of its column."""
    better: str
    """``lower`` or ``higher``: how the cells would have to differ for the claim to hold."""
    base: str
    seeds: list[int]
    """Each cell has these, maybe more."""
    chosen: str
    """What the settings were chosen on, one of ``CHOSEN``."""
    verdicts: dict[str, str]
    """Of each cell."""
    sentences: dict[str, str]
    """For each verdict that there is, what is said; figures in braces."""
    tried: list[str] = field(default_factory=list)
    """Logs of the settings tried with the test text, one for each, that of the one taken too."""
    search: str = ""
    """Of a figure of translations, which: the paired bootstrap counts as well."""
    remark: str = ""
    """What is to add, figures in braces."""

    def column(self, kind: str) -> Figure:
        """The column of its figure, in tables of this kind."""
        found = [figure for figure in FIGURES[kind] if figure.head == self.figure]
        if not found:
            raise UserError(f"claim '{self.name}': the tables of {kind} have no '{self.figure}'")
        return found[0]


def read(path: Path) -> list[Claim]:
    """All claims of a file.

    Raises:
        UserError: it is none, or a claim has something else than it may.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    claims = [_claim(path, row, content.get("tried", {})) for row in content.get("claim", [])]
    names = [claim.name for claim in claims]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: two claims have the name '{name}'")
    return claims


def _claim(path: Path, row: dict[str, Any], tried: dict[str, list[str]]) -> Claim:
    if row.get("tried") not in (None, *tried):
        raise UserError(f"{path}, '{row.get('name')}': there is no list '{row['tried']}' in tried")
    try:
        claim = Claim(**row | {"tried": tried.get(row.get("tried", ""), [])})
    except TypeError as error:
        known = ", ".join(one.name for one in fields(Claim))
        raise UserError(f"{path}, '{row.get('name')}': {error}; a claim has {known}") from None
    allowed = [(claim.better, ("lower", "higher")), (claim.chosen, (*CHOSEN,))]
    allowed += [(word, VERDICTS) for word in (*claim.verdicts.values(), *claim.sentences)]
    for word, words in allowed:
        if word not in words:
            raise UserError(f"{path}, '{claim.name}': '{word}' is none of {', '.join(words)}")
    if (claim.chosen == "test text") != bool(claim.tried):
        raise UserError(f"{path}, '{claim.name}': settings chosen on the test text need 'tried'")
    if set(claim.verdicts.values()) != {*claim.sentences}:
        raise UserError(f"{path}, '{claim.name}': one sentence for each verdict, and no other")
    return claim
