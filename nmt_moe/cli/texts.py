"""``nmt-moe corpus monolingual`` and ``multi30k``: text into three sets."""

from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, required, switch
from nmt_moe.common.ranges import integers
from nmt_moe.corpus.multi30k import LANGUAGES


@dataclass(kw_only=True)
class Monolingual(Command):
    """Write text in one language as train.txt, valid.txt and test.txt."""

    text: Path = positional(
        "a file with a sentence per line, may be .gz; or a folder with the three files", "TEXT"
    )
    out: Path = required("folder for the three files", metavar="FOLDER")
    valid: int = option(1000, "lines of valid.txt when TEXT is one file", integers(1), "LINES")
    test: int = option(2000, "lines of test.txt when TEXT is one file", integers(1), "LINES")
    seed: int = option(1, "of the choice of these lines", integers(0))

    def run(self) -> None:
        from nmt_moe.corpus.monolingual import prepare

        written = prepare(self.text, self.out, self.valid, self.test, self.seed)
        print(", ".join(f"{split}: {number:,} lines" for split, number in written.items()))


@dataclass(kw_only=True)
class Multi30k(Command):
    """Write the splits of Multi30k as plain text."""

    folder: Path = positional("a clone of the repository, or its files", "FOLDER")
    source: str = option("en", "source language", choices=LANGUAGES)
    target: str = required("target language", choices=LANGUAGES)
    out: Path = required("folder for the splits", metavar="FOLDER")
    papers: bool = switch(
        "lower-case, normalise and tokenise the text as Moses does, as published systems do"
    )

    def run(self) -> None:
        from nmt_moe.corpus.multi30k import prepare

        pairs = prepare(self.folder, self.source, self.target, self.out, papers=self.papers)
        print(", ".join(f"{split}: {number:,} pairs" for split, number in pairs.items()))
