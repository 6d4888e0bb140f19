"""``nmt-moe corpus download`` and ``wmt14``: the archives of WMT'14, and their text."""

from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, required
from nmt_moe.common.ranges import integers, numbers
from nmt_moe.corpus.download import Patience
from nmt_moe.corpus.manifest import PAIRS, Manifest, archives_of, find, load


@dataclass(kw_only=True)
class _Choice(Command):
    """Which archives."""

    pair: str = positional("the languages", choices=PAIRS)
    archives: Path = required("where the archives are", metavar="FOLDER")
    test: list[str] = option(
        ["full"],
        "the test set: full, filtered or both, the first as test and others as test-SET",
        metavar="SET",
    )
    corpora: list[str] = option([], "of the training text, only these", metavar="CORPUS")
    manifest: Path | None = option(
        None, "another one than nmt_moe/corpus/manifests/wmt14-PAIR.json"
    )

    def known(self) -> Manifest:
        """What the manifest says."""
        return load(self.manifest or find(self.pair))


@dataclass(kw_only=True)
class Download(_Choice):
    """Get the archives of WMT'14. Run again, it continues where it stopped."""

    mirrors: list[str] = option(
        [], "try these, in this order, instead of the manifest's", metavar="URL", name="--mirror"
    )
    timeout: float = option(
        Patience.timeout,
        "seconds without data after which a try has failed",
        numbers(0, exclusive_low=True),
    )
    tries: int = option(
        Patience.tries, "how often to try again without getting anything more", integers(1)
    )
    pause: float = option(
        Patience.pause, "seconds before the second try; doubled with each", numbers(0)
    )
    interval: float = option(Patience.interval, "seconds between two lines of progress", numbers(0))

    def run(self) -> None:
        from nmt_moe.corpus.download import download

        known = self.known()
        tests = [known.test_set(name) for name in self.test]
        corpora = [*known.training(self.corpora), *known.valid.values(), *tests]
        patience = Patience(self.timeout, self.tries, self.pause, self.interval)
        mirrors = self.mirrors or known.mirrors
        download(archives_of(corpora), self.archives, mirrors, patience)


@dataclass(kw_only=True)
class Wmt14(_Choice):
    """Write the text of WMT'14's archives as train/CORPUS.LANG, valid.LANG and test.LANG: raw, one
    sentence per line.
    """

    out: Path = required("folder for the text", metavar="FOLDER")

    def run(self) -> None:
        from nmt_moe.corpus.wmt14 import prepare

        prepare(self.known(), self.archives, self.out, self.corpora, self.test)
