"""``nmt-moe evaluate``."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt_moe.cli.arguments import option, positional, switch
from nmt_moe.cli.translate import OfText
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import (
    atomic_write,
    beside,
    check_folder,
    check_no_input,
    is_standard_output,
)
from nmt_moe.common.lines import read_lines, read_pairs
from nmt_moe.common.progress import Progress
from nmt_moe.common.ranges import integers
from nmt_moe.trained.search import BEAM, BUFFER_LINES, RANGES

if TYPE_CHECKING:
    from nmt_moe.trained.translator import Translator


@dataclass(kw_only=True)
class Evaluate(OfText):
    """Translate a text with a model and score the translations: BLEU, chrF and TER of detokenised
    text, each with its signature and a 95% interval by bootstrap.
    """

    model: str = positional("a model's folder, or a checkpoint", "MODEL")
    source: Path = positional("the text, one sentence a line, may be .gz", "SOURCE")
    reference: Path = positional("its translation by people, line by line", "REFERENCE")
    against: str | None = option(
        None,
        "another system to compare with by paired bootstrap: a model's folder, a checkpoint, or a "
        "file of its translations, one a line",
        metavar="OTHER",
    )
    target_lang: str | None = option(
        None, "language to translate into, needed where the model has several", metavar="LANGUAGE"
    )
    beam: int = option(BEAM, "beam size", RANGES["beam"])
    int8: bool = switch("open the model, but not OTHER, with weights in int8")
    shortlist: Path | None = option(
        None, "table of 'nmt-moe model shortlist' for the model, but not for OTHER", metavar="FILE"
    )
    resamples: int = option(1000, "samples of the bootstrap", integers(2))
    per_line: Path | None = option(
        None, "write a table with the scores and the translation of each line; -: print it"
    )
    json: Path | None = option(
        None, "write everything to this file, for nmt-moe report --translations; -: print it"
    )

    def run(self) -> None:
        from nmt_moe.corpus.sources.pair import Pair
        from nmt_moe.corpus.suspicions import look
        from nmt_moe.score import evaluation
        from nmt_moe.score.intervals import scored
        from nmt_moe.trained.card import score_lines

        written = [path for path in (self.per_line, self.json) if path]
        read = [self.source, self.reference, *([Path(self.against)] if self.against else [])]
        check_no_input(written, read, "--per-line or --json")
        check_folder(written, "--per-line or --json")
        pairs = [*read_pairs(self.source, self.reference)]
        if not pairs:
            raise UserError(f"{self.source} is empty: there is nothing to translate")
        sources, references = (list(side) for side in zip(*pairs, strict=True))
        translator = self._open(self.model, int8=self.int8, shortlist=self.shortlist)
        other = self._other(self.against, sources) if self.against is not None else []
        target = self.target_lang or translator.target_lang
        numbered = [Pair(*pair, line) for line, pair in enumerate(pairs, 1)]
        for one in look(numbered, translator.source_lang, target):
            if one.kind in ("swapped", "language", "misaligned"):
                print(f"warning: {self.source}, {self.reference}: {one.message}", file=sys.stderr)
        hypotheses = translated(translator, sources)
        found = scored(hypotheses, references, target, self.resamples)
        content = evaluation.content(found, sources, references, hypotheses)
        how = " in int8" * self.int8 + " with a shortlist" * (self.shortlist is not None)
        shown = [f"{self.model}{how}, {self.source}, {len(pairs):,} lines"]
        shown += score_lines(content["scores"])
        if self.against is not None:
            compared = evaluation.compare(hypotheses, other, references, target, self.resamples)
            content["comparison"] = {"against": self.against, "scores": compared}
            shown += ["", *evaluation.compared(self.against, compared)]
        print("\n".join(shown), file=beside(next(filter(is_standard_output, written), None)))
        if self.per_line:
            with atomic_write([self.per_line]) as [file]:
                table = evaluation.lines(found, sources, references, hypotheses)
                file.writelines(f"{line}\n" for line in table)
        if self.json:
            with atomic_write([self.json]) as [file]:
                file.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def _open(self, model: str, **more: Any) -> "Translator":
        from nmt_moe.trained.device import find_device, workers_for
        from nmt_moe.trained.folder import in_int8
        from nmt_moe.trained.translator import Translator

        device = find_device(self.device, more.get("int8", False) or in_int8(model))
        workers = self.workers or workers_for(device)
        how: dict[str, Any] = {"target_lang": self.target_lang, "device": str(device)}
        return Translator(model, **how, beam=self.beam, workers=workers, **more)

    def _other(self, against: str, sources: Sequence[str]) -> list[str]:
        """The translations of the other system."""
        if Path(against).is_dir() or against.endswith(".pt"):
            return translated(self._open(against), sources)
        lines = [*read_lines(Path(against))]
        if len(lines) != len(sources):
            raise UserError(
                f"{against} has {len(lines):,} lines but {self.source} has {len(sources):,}: line "
                "n of one must be the translation of line n of the other"
            )
        return lines


def translated(translator: "Translator", lines: Sequence[str]) -> list[str]:
    """The translations of lines, in the buffers of ``nmt-moe translate``."""
    found: list[str] = []
    with Progress("translate", "lines", len(lines)) as progress:
        for start in range(0, len(lines), BUFFER_LINES):
            found += translator.translate(lines[start : start + BUFFER_LINES])
            progress.add(len(found) - start)
    return found
