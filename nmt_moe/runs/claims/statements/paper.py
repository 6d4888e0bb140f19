"""The claims of the paper, as ``results/paper.toml`` has them, each beside ours."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.runs.claims.statements.claim import NOT_SHOWN, Claim
from nmt_moe.runs.claims.statements.judge import Comparison, Results
from nmt_moe.runs.claims.statements.wording import BRACES, Wording


@dataclass(frozen=True, kw_only=True)
class Row:
    """A claim of the paper."""

    where: str
    claim: str
    paper: str
    """The paper's figure."""
    ours: str
    """Figures in braces, as in sentences, after the claim's name: ``{NAME|mean|CELL}``."""
    verdict: str
    why: str
    """The same."""
    size: str
    """Which one would tell."""
    of: list[str] = field(default_factory=list)
    """``NAME|CELL``, the comparisons that decide; without any it is not shown."""


def read(path: Path) -> list[Row]:
    """The rows of a file.

    Raises:
        UserError: it is none.
    """
    try:
        return [Row(**row) for row in tomllib.loads(path.read_text("utf-8")).get("row", [])]
    except (OSError, tomllib.TOMLDecodeError, TypeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def verdict(row: Row, comparisons: Sequence[Comparison]) -> str:
    """That of all of its comparisons; not shown, if they differ or there is none.

    Raises:
        UserError: one of them is no comparison.
    """
    known = {f"{one.claim.name}|{one.cell}": one.verdict for one in comparisons}
    for name in row.of:
        if name not in known:
            raise UserError(f"the paper's claim '{row.claim}': there is no comparison '{name}'")
    found = {known[name] for name in row.of}
    return found.pop() if len(found) == 1 else NOT_SHOWN


def table(
    rows: Sequence[Row], claims: Sequence[Claim], comparisons: Sequence[Comparison], all_: Results
) -> Iterator[str]:
    """All rows, in Markdown."""
    wordings = {claim.name: Wording(claim, comparisons, all_) for claim in claims}
    yield "| where | the paper's claim | its figure | ours | verdict | why | what would tell |"
    yield f"|{' --- |' * 7}"
    for row in rows:
        ours, why = (filled(row, text, wordings) for text in (row.ours, row.why))
        deciding = [claim.tried for claim in claims if f"{claim.name}|" in "".join(row.of)]
        why += "; settings chosen on the test text" if any(deciding) else ""
        cells = [row.where, row.claim, row.paper, ours, row.verdict, why, row.size]
        yield f"| {' | '.join(' '.join(cell.split()) for cell in cells)} |"


def filled(row: Row, text: str, wordings: dict[str, Wording]) -> str:
    """A text with the figures of the claims that its braces begin with.

    Raises:
        UserError: there is no such figure, or one that is not of the data.
    """

    def figure(found: re.Match[str]) -> str:
        name, _, rest = found[1].partition("|")
        if name not in wordings:
            raise UserError(f"the paper's claim '{row.claim}': there is no claim '{name}'")
        return wordings[name].fill(f"{{{rest}}}")

    if digits := re.findall(r"\S*\d\S*", BRACES.sub("", text)):
        raise UserError(f"the paper's claim '{row.claim}': '{digits[0]}' is a figure of its own")
    return BRACES.sub(figure, text)
