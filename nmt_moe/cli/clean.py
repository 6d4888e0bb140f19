"""``nmt-moe corpus clean``."""

import time
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, required, switch
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write, beside
from nmt_moe.common.ranges import integers, numbers
from nmt_moe.corpus.clean.rules import CHARACTERS_BEYOND, WORDS_BEYOND, Limits
from nmt_moe.corpus.workers import cores, interruptible


@dataclass(kw_only=True)
class Clean(Command):
    """Clean a parallel corpus and say what each rule changed or removed. HTML entities are decoded;
    special spaces and line ends inside a line become a space, control characters of Windows-1252
    what they were; invisible characters are removed. Then pairs are removed that are not UTF-8,
    empty, long, of odd ratio, identical on both sides, or came before.

    Drafts and hashes lie in .NAME.cleaning beside OUT until the end: twice the size of the output,
    and 16 bytes for each pair.
    """

    inputs: list[Path] = positional("reads IN.LANG or IN.LANG.gz", "IN")
    langs: list[str] = required("of both sides", nargs=2, metavar=("SOURCE", "TARGET"))
    out: Path = required("writes OUT.LANG", metavar="OUT")
    report: Path | None = option(None, "the counts as JSON too")
    workers: int = option(cores(), "processes; by default one for each core", integers(1))
    max_words: int = option(Limits.words, "of each side", integers(1))
    max_characters: int = option(Limits.characters, "of each side", integers(1))
    max_ratio: float = option(
        Limits.ratio,
        f"a side may have R times the words of the other and {WORDS_BEYOND} more, R times its "
        f"characters and {CHARACTERS_BEYOND} more",
        numbers(1),
        "R",
    )
    keep_duplicates: bool = switch("keep pairs that came before")
    language_id: bool = switch(
        "remove pairs with a side of 20 characters or more that is surely in another language; "
        "SOURCE and TARGET are codes such as en or pt_BR (needs py3langid)"
    )

    def run(self) -> None:
        from nmt_moe.corpus.clean.language import foreign
        from nmt_moe.corpus.clean.pipeline import Options, clean

        start = time.monotonic()
        if self.langs[0] == self.langs[1]:
            raise UserError(f"--langs names the language '{self.langs[0]}' twice")
        options = Options(
            Limits(self.max_words, self.max_characters, self.max_ratio),
            foreign(self.langs) if self.language_id else None,
            self.keep_duplicates,
            self.workers,
        )
        if self.report:
            self.report.parent.mkdir(parents=True, exist_ok=True)
        with interruptible():
            report = clean(self.inputs, self.out, self.langs, options)
        where = beside(self.report)
        print("\n".join(report.lines()), file=where)
        seconds = time.monotonic() - start
        speed = report.read.total() / seconds * 60 / self.workers
        print(f"\n{self.out}: {seconds:.1f} s,", file=where, end=" ")
        print(f"{speed:,.0f} pairs per minute and process", file=where)
        if self.report:
            with atomic_write([self.report]) as [file]:
                file.write(report.as_json())
