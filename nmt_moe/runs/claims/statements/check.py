"""Whether all that is said follows from the logs, and the page is what follows."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.runs.claims.results import SUMS, checksums, load, of_logs
from nmt_moe.runs.claims.statements import claim, paper, tried
from nmt_moe.runs.claims.statements.claim import VERDICTS, Claim
from nmt_moe.runs.claims.statements.judge import Results, compare
from nmt_moe.runs.claims.statements.wording import Wording, paragraphs

PART = re.compile(
    r"^(<!-- generated: (claim|paper)(?: (\S+))? -->\n).*?^(<!-- end -->)$",
    re.DOTALL | re.MULTILINE,
)


class Statements:
    """All that is said in a checkout: ``results/claims.toml`` and ``results/paper.toml``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.results = Results(root / "results")
        self.claims = claim.read(root / "results" / "claims.toml")
        self.rows = paper.read(root / "results" / "paper.toml")
        self.comparisons = compare(self.claims, self.results)

    @property
    def page(self) -> Path:
        """The page that is written of them."""
        return self.root / "docs" / "results.md"

    def part(self, kind: str, name: str = "") -> str:
        """A part of the page: a ``claim``, by its name, or the ``paper``'s table."""
        if kind == "paper":
            return "\n".join(paper.table(self.rows, self.claims, self.comparisons, self.results))
        found = [one for one in self.claims if one.name == name]
        if not found:
            raise UserError(f"{self.page}: there is no claim '{name}'")
        return "\n".join(paragraphs(found[0], self.comparisons, self.results))

    def written(self) -> str:
        """The page as it has to be."""
        return PART.sub(
            lambda part: f"{part[1]}{self.part(part[2], part[3] or '')}\n{part[4]}",
            self.page.read_text("utf-8"),
        )

    def errors(self) -> Iterator[str]:
        """What does not follow."""
        yield from _changed(self.results.root)
        for page in sorted(self.results.root.glob("*/tried.md")):
            yield from tried.wrong(page)
        for one in self.comparisons:
            if (said := one.claim.verdicts[one.cell]) != one.verdict:
                why = f", as {one.missing} was not trained" if one.missing else ""
                yield (
                    f"claim '{one.claim.name}': {one.cell} is '{one.verdict}', not '{said}'{why}"
                )
        for each in self.claims:
            yield from _left_out(each, self.claims, self.results)
            yield from self._wrong_words(each)
        for row in self.rows:
            try:
                if (found := paper.verdict(row, self.comparisons)) != row.verdict:
                    yield f"the paper's claim '{row.claim}' is '{found}', not '{row.verdict}'"
            except UserError as error:
                yield str(error)

    def _wrong_words(self, each: Claim) -> Iterator[str]:
        wording = Wording(each, self.comparisons, self.results)
        for verdict, text in (*each.sentences.items(), ("", each.remark)):
            try:
                wording.fill(text, verdict)
            except UserError as error:
                yield str(error)

    def stale(self) -> Iterator[str]:
        """What the page does not have, or has otherwise."""
        if self.page.read_text("utf-8") != self.written():
            yield f"{self.page} says something else than the data: nmt-moe claims check --write"
        shown = Counter(part[3] for part in PART.finditer(self.page.read_text("utf-8")))
        for one in self.claims:
            if shown[one.name] != 1:
                yield f"{self.page} has claim '{one.name}' {shown[one.name]} times"

    def summary(self) -> str:
        """How many there are."""
        counts = Counter(one.verdict for one in self.comparisons)
        verdicts = ", ".join(f"{counts[word]} {word}" for word in VERDICTS)
        return (
            f"{len(self.claims)} claims, {len(self.comparisons)} comparisons: {verdicts}; "
            f"{len(self.rows)} of the paper's claims"
        )


def check(root: Path, write: bool) -> list[str]:
    """Everything that is wrong; with ``write`` the page is written first, if the rest is right."""
    statements = Statements(root)
    errors = [*statements.errors()]
    if write and not errors:
        text = statements.written()
        with atomic_write([statements.page]) as [file]:
            file.write(text)
    return errors or [*statements.stale()]


def _changed(results: Path) -> Iterator[str]:
    """Logs that are not what their checksums say, and tables that are not what logs say."""
    for path in sorted(results.rglob("*.log")):
        if not any((folder / SUMS).exists() for folder in path.parents):
            yield f"{path}: there is no {SUMS} for it"
    for sums in sorted(results.rglob(SUMS)):
        folder = sums.parent
        lines = set(sums.read_text("utf-8").splitlines())
        for line in sorted(lines ^ set(checksums(folder).splitlines())):
            yield f"{folder / line.partition('  ')[2]} is not what {SUMS} beside it says"
        if (folder / "run.json").exists():
            for name, text in of_logs(*load(folder)).items():
                if (folder / name).read_text("utf-8") != text:
                    yield f"{folder / name} is not that of the logs: nmt-moe claims show {folder}"


def _left_out(one: Claim, claims: list[Claim], results: Results) -> Iterator[str]:
    """Cells that were trained, but that nothing is said of in the claim's figure."""
    for name in one.tried:
        if not (results.root / name).is_file():
            yield f"claim '{one.name}': there is no log {name} of what was tried"
    _, cells = results.folder(one.results)
    said = {
        name
        for other in claims
        if (other.results, other.figure) == (one.results, one.figure)
        for name in (other.base, *other.verdicts)
    }
    for cell in cells:
        if cell not in said:
            yield f"claim '{one.name}': nothing is said of {cell}, which was trained, too"
