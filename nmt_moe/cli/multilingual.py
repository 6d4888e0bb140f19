"""``nmt-moe corpus multilingual``: put several pairs of languages together, for one model."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, required
from nmt_moe.cli.wordpieces import Vocabulary
from nmt_moe.common.ranges import integers, numbers


@dataclass(kw_only=True)
class Pairs(Command):
    """Print the pairs of the phrasebook that words ask for."""

    words: list[str] = positional("a pair such as en-de, or de for en-de and de-en", "WORD")

    def run(self) -> None:
        from nmt_moe.corpus.phrasebook.pairs import expand

        print(" ".join(expand(self.words)))


@dataclass(kw_only=True)
class _Texts(Command):
    """The text of the pairs."""

    pairs: list[str] = positional(
        "such as en-de=data/en-de, with {train,valid,test}.{en,de} in it, plain or .gz",
        "PAIR=FOLDER",
    )


@dataclass(kw_only=True)
class Learn(Vocabulary, _Texts):
    """Learn the wordpieces of all languages."""

    def run(self) -> None:
        from nmt_moe.corpus.multilingual.mix import write_training_text
        from nmt_moe.corpus.multilingual.pairs import parse_pairs
        from nmt_moe.corpus.wordpieces.model import train

        pairs = parse_pairs(self.pairs)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.out.parent) as folder:
            text = Path(folder) / "train"
            write_training_text(pairs, text)
            learned = train([text], self.out, self.vocabulary, self.sample)
        pieces = f"{learned.pieces:,} pieces of all languages ({learned.kinds})"
        print(f"{self.out}.model: {pieces}")


@dataclass(kw_only=True)
class Mix(_Texts):
    """Write the pairs as pieces, each source with a tag such as <2de> first."""

    model: Path = required(
        "sentencepiece model of all languages; the tags are added to PREFIX.dict.txt",
        metavar="PREFIX.model",
    )
    out: Path = required("folder for {train,valid,test}.{src,tgt}", metavar="FOLDER")
    max_pieces: int = option(
        250, "leave out pairs with an empty side or with a side of more pieces", integers(1)
    )
    temperature: float = option(
        1.0,
        "repeat lines of smaller pairs: n lines of training become N * (n / N) ** (1 / T), N are "
        "the largest pair's; 1 repeats none",
        numbers(1),
        "T",
    )
    seed: int = option(1, "of the choice of lines to repeat", integers(0))

    def run(self) -> None:
        from nmt_moe.corpus.multilingual.mix import add_tags, describe, mix
        from nmt_moe.corpus.multilingual.pairs import languages, parse_pairs
        from nmt_moe.corpus.wordpieces.model import load

        pairs = parse_pairs(self.pairs)
        model = load(self.model)
        counts = mix(pairs, model, self.out, self.max_pieces, self.temperature, self.seed)
        add_tags(self.model.with_suffix(".dict.txt"), [languages(pair)[1] for pair in pairs])
        print("\n".join(describe(counts, self.max_pieces)))
