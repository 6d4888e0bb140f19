"""``nmt-moe corpus import``: any usual parallel text into files of lines, in three sets."""

import sys
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, required
from nmt_moe.common.ranges import integers


@dataclass(kw_only=True)
class Import(Command):
    """Write parallel text as OUT/{train,valid,test}.LANGUAGE, a sentence a line.

    FILES are two aligned files, told apart by their ending or in this order, packed or not; tables
    (TSV, CSV); TMX; JSON lines; or a folder of such files, whose names begin with train, valid and
    test. Where there is no text for validation or test, it is taken from the training text, so that
    none of its sentences stands there. What looks wrong is said on stderr, with its lines.
    """

    files: list[Path] = positional("parallel text", "FILES")
    source: str = required("language of the source, such as en", metavar="LANGUAGE")
    target: str = required("language of the target", metavar="LANGUAGE")
    out: Path = required("folder for the six files", metavar="FOLDER")
    valid: list[Path] = option([], "text for validation, in any of these forms", nargs="+")
    test: list[Path] = option([], "text for testing, the same", nargs="+")
    columns: list[int] | None = option(
        None,
        "of a table, from 1 (default: those that its first line names, else the first two of text)",
        integers(1),
        ("SOURCE", "TARGET"),
        nargs=2,
    )
    upsample: list[str] = option(
        [], "write the pairs of a file so often for training", metavar="FILE=TIMES", nargs="+"
    )
    seed: int = option(1, "of the choice of validation and test", integers(0))

    def run(self) -> None:
        from nmt_moe.common.languages import language
        from nmt_moe.corpus.sources import SPLITS, check_columns, find
        from nmt_moe.corpus.split import describe, repeats, split
        from nmt_moe.corpus.suspicions import look

        for code in (self.source, self.target):
            language(code)  # refuses what is none
        columns = (self.columns[0], self.columns[1]) if self.columns else None
        sources = find(self.files, self.source, self.target, columns=columns)
        for kind, files in zip(SPLITS[1:], (self.valid, self.test), strict=True):
            if files:
                sources += find(files, self.source, self.target, columns=columns, split=kind)
        check_columns(columns, sources)
        repeat = repeats(self.upsample, sources)
        for one in sources:
            for suspicion in look(one.pairs(), self.source, self.target):
                print(f"warning: {one.name}: {suspicion.message}", file=sys.stderr)
        counts = split(sources, self.out, self.source, self.target, seed=self.seed, repeat=repeat)
        print("\n".join(describe(counts)))
