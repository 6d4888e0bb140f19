"""``nmt-moe corpus phrasebook``: parallel text that is made on this machine."""

from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, required
from nmt_moe.common.ranges import integers


@dataclass(kw_only=True)
class Phrasebook(Command):
    """Write parallel text, made on this machine. --target: English-German or English-French from
    sentence templates, as <out>/en-<target>/{train,valid,test}.{en,<target>,domain}. The same seed
    gives the same files.
    """

    target: str = required(
        "the sentences in English and this language, de or fr", metavar="LANGUAGE", one_of="text"
    )
    pairs: list[str] = required(
        "pairs of languages such as en-de es-en, or a language for both directions with English; "
        "writes <out>/<pair>/{train,valid,test}.<language>, as many lines of each: sentences and "
        "labels between English, German and French, otherwise labels (dates, amounts, names and "
        "lists of them)",
        metavar="PAIR",
        one_of="text",
    )
    out: Path = option(Path("data/phrasebook"), "folder to write", metavar="FOLDER")
    train: int = option(30_000, "number of training pairs", integers(1))
    valid: int = option(500, "number of validation pairs", integers(1))
    test: int = option(1000, "number of test pairs", integers(1))
    seed: int = option(1, "seed of the random draws", integers(0))

    def run(self) -> None:
        from nmt_moe.corpus.phrasebook.files import write_pairs, write_target

        sizes = (self.train, self.valid, self.test, self.seed)
        if self.pairs:
            print(write_pairs(self.pairs, self.out, *sizes))
        else:
            print(write_target(self.target, self.out, *sizes))
