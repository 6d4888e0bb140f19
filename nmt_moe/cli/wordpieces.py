"""``nmt-moe corpus wordpieces``: learn a vocabulary, cut text into its pieces, count them."""

import sys
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, required, switch
from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import integers, numbers


@dataclass(kw_only=True)
class Vocabulary(Command):
    """What is learned, and where it goes."""

    # sentencepiece chooses among so many, and never ends with 2,000,000,000.
    vocabulary: int = option(
        32_000,
        "size of the vocabulary, with 3 special symbols; 10 digits and 256 bytes come on top, "
        "which spell all other characters",
        integers(1, 1_000_000),
    )
    out: Path = required("writes PREFIX.model, PREFIX.vocab and PREFIX.dict.txt", metavar="PREFIX")
    sample: int | None = option(
        None,
        "learn from so many lines, chosen evenly from all of all files (default: all lines)",
        integers(1),
        "LINES",
    )


@dataclass(kw_only=True)
class Train(Vocabulary):
    """Learn a vocabulary of wordpieces from training text."""

    files: list[Path] = positional("text, may be .gz", "FILE")
    seed: int = option(1, "of the sample", integers(0))
    coverage: float = option(
        1.0,
        "of the text's characters, 0.98 or more; the rarest others are spelled in bytes "
        "(default: 1, all)",
        numbers(0.98, 1),
        "SHARE",
    )

    def run(self) -> None:
        from nmt_moe.corpus.wordpieces.model import GIVEN, train

        learned = train(
            self.files, self.out, self.vocabulary, self.sample, self.seed, self.coverage
        )
        print(f"{self.out}.model: {learned.pieces:,} pieces ({learned.kinds}), {learned}")
        if learned.pieces - GIVEN < self.vocabulary - 3:  # less the special symbols
            asked = f"the {self.vocabulary:,} that were asked for"
            print(f"the text has no more of {asked}", file=sys.stderr)


@dataclass(kw_only=True)
class Encode(Command):
    """Write a corpus as pieces."""

    model: Path = required(
        "the PREFIX.model of 'nmt-moe corpus wordpieces train'", metavar="PREFIX.model"
    )
    langs: list[str] = required(
        "parallel text", nargs=2, metavar=("SOURCE", "TARGET"), one_of="languages"
    )
    lang: str = required("text in one language", metavar="LANGUAGE", one_of="languages")
    max_pieces: int = option(
        250, "drop pairs with an empty side or with a side of more pieces", integers(1)
    )
    max_ratio: float | None = option(
        None,
        "drop pairs with a side of more than R times the pieces of the other (default: none)",
        numbers(1),
        "R",
    )
    workers: int = option(1, "processes", integers(1))
    keep_all: bool = switch("only count them: for test sets")
    clean_source: bool = switch(
        "first change the characters of the first language as nmt-moe corpus clean does: for text "
        "that goes to a model which was trained on cleaned text"
    )
    input: Path = positional("reads INPUT.LANG", "INPUT")
    output: Path = positional("writes OUTPUT.LANG", "OUTPUT")

    def run(self) -> None:
        from nmt_moe.corpus.wordpieces.model import load
        from nmt_moe.corpus.wordpieces.pieces import Limits, describe, encode
        from nmt_moe.corpus.workers import interruptible

        languages = self.langs or [self.lang]
        self.output.parent.mkdir(parents=True, exist_ok=True)
        inputs, outputs = (
            [prefix.with_name(f"{prefix.name}.{language}") for language in languages]
            for prefix in (self.input, self.output)
        )
        limits = Limits(self.max_pieces, self.max_ratio)
        with interruptible():
            model = load(self.model)
            counts = encode(
                model, inputs, outputs, limits, self.keep_all, self.workers, self.clean_source
            )
        print("\n".join(describe(self.input.name, counts, limits, languages)))
        if not counts.kept:
            raise UserError(f"{inputs[0]}: no line is left")


@dataclass(kw_only=True)
class Count(Command):
    """Print a table of the sizes of text in pieces, and of how many of them are unknown."""

    dict: Path = required(
        "the PREFIX.dict.txt of 'nmt-moe corpus wordpieces train'", metavar="PREFIX.dict.txt"
    )
    paths: list[Path] = positional(
        "the OUTPUT of 'nmt-moe corpus wordpieces encode', or a file", "OUTPUT"
    )

    def run(self) -> None:
        from nmt_moe.corpus.sizes import count

        print("\n".join(count(self.dict, self.paths)))
