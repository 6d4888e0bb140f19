"""The recipe that prepares WMT'14, on miniature archives from a server that fails."""

import gzip
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fairseq.data import Dictionary, indexed_dataset

from tests.recipes import error, headings, killed, run
from tests.server import Fault, Server
from tests.wmt14_archives import build

STAGES = ["download", "corpus", "clean", "wordpieces", "binary", "sizes"]
EUROPARL = "wmt13/training-parallel-europarl-v7.tgz"
CRAWL = "wmt13/training-parallel-commoncrawl.tgz"
SMALL = {"VOCABULARY": 300, "SAMPLE": 300, "WORKERS": 2}
DIRT = [
    (b"bare\rreturn", b"bloss\rzur\xc3\xbcck"),
    (b"nul\x00here", "Null\u202fda".encode()),
    (b"\xff\xfe not text", b"kein Text"),
    (b"", b"leer"),
    (b"The dog runs. " * 2500, b"Der Hund rennt."),
    (b"The dog sleeps.", b"Der Hund schl\xc3\xa4ft."),
    (b"The dog sleeps.", b"Der Hund schl\xc3\xa4ft."),
]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("mirror"), "en-de", dirt={"europarl-v7": DIRT})


@pytest.fixture
def server(mirror: Path) -> Iterator[Server]:
    with Server(mirror) as running:
        yield running


def settings(server: Server, tmp_path: Path) -> dict[str, object]:
    return SMALL | {
        "RUN_DIR": tmp_path / "a run",  # with a space
        "WMT14_ARCHIVES": tmp_path / "the archives",
        "WMT14_MANIFEST": server.folder / "manifest.json",
        "WMT14_MIRROR": server.url,
    }


def test_help_and_mistyped_arguments() -> None:
    text = run("wmt14_prepare.sh", "--help").stdout
    assert text.startswith("usage: recipes/wmt14_prepare.sh") and "WMT14_MIRROR" in text
    assert "name a pair, en-de or en-fr" in error(run("wmt14_prepare.sh"))
    assert "name a pair, en-de or en-fr" in error(run("wmt14_prepare.sh", "en-es"))
    assert "one pair, please: 'en-de' or 'en-fr'" in error(
        run("wmt14_prepare.sh", "en-de", "en-fr")
    )
    assert "unknown option '--cleen'" in error(run("wmt14_prepare.sh", "en-de", "--cleen"))
    assert "WORKERS=no: give a whole number" in error(
        run("wmt14_prepare.sh", "en-de", WORKERS="no")
    )
    assert "no training here that takes '--lr'" in error(
        run("wmt14_prepare.sh", "en-de", "--", "--lr", "1")
    )


@pytest.mark.slow
def test_wrong_settings(server: Server, tmp_path: Path) -> None:
    def stops(**changed: object) -> str:
        finished = run("wmt14_prepare.sh", "en-de", **settings(server, tmp_path) | changed)
        assert finished.returncode == 1 and headings(finished.stdout) == ["download"]
        shutil.rmtree(tmp_path / "a run")
        return finished.stderr

    assert "unknown training corpus 'un': choose from europarl-v7," in stops(CORPORA="un")
    assert "the mirror ftp://x is no http:, https: or file: URL" in stops(WMT14_MIRROR="ftp://x")
    # A wrong checksum: all is there, and not what it should be.
    server.faults[CRAWL] = itertools.repeat(Fault(wrong=gzip.compress(b"other")))
    text = stops()
    assert f"{server.url}/{CRAWL}: its sha256 should be " in text
    names = {path.name for path in (tmp_path / "the archives").iterdir()}
    assert names == {".lock", "training-parallel-europarl-v7.tgz"}


def counts(run_dir: Path) -> dict[str, int]:
    """The lines of each file of wordpieces."""
    names = [f"{split}.{side}" for split in ("train", "valid", "test") for side in ("en", "de")]
    return {name: (run_dir / f"wordpieces/{name}").read_bytes().count(b"\n") for name in names}


@pytest.mark.slow
def test_from_a_failing_server_to_binary(server: Server, tmp_path: Path) -> None:
    size = (server.folder / EUROPARL).stat().st_size
    server.faults = {
        EUROPARL: iter([Fault(cut=size // 3), Fault(status=503), Fault(cut=size // 3)]),
        CRAWL: iter([Fault(wrong=b"x" * 5000, cut=1000)]),
        "wmt14/dev.tgz": iter([Fault(status=404)]),
    }
    finished = run("wmt14_prepare.sh", "en-de", **settings(server, tmp_path))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert headings(finished.stdout) == STAGES
    folder = tmp_path / "a run"

    # Every pair of the archives is there, in line; what is dirt is removed and counted.
    raw = [(folder / f"corpus/train/europarl-v7.{side}").read_bytes() for side in ("en", "de")]
    assert [text.count(b"\n") for text in raw] == [60 + len(DIRT)] * 2
    report = json.loads((folder / "clean/report.json").read_text())
    assert report["read"] == 180 + len(DIRT) and report["kept"] <= 180 + 3, report
    cleaned = [(folder / f"clean/train.{side}").read_text().split("\n") for side in ("en", "de")]
    pairs = list(zip(*cleaned, strict=True))
    assert pairs.count(("The dog sleeps.", "Der Hund schläft.")) == 1
    assert ("bare return", "bloss zurück") in pairs
    # References keep what sources lose, as the training text does.
    sources, references = (
        (folder / f"wordpieces/test.{side}").read_text().splitlines() for side in ("en", "de")
    )
    spelled = "<0xC2> <0xAD>"  # U+00AD
    assert not any(spelled in line for line in sources)
    assert all(spelled in line for line in references)
    lines = counts(folder)
    assert lines["train.en"] == lines["train.de"] == report["kept"]
    assert lines["valid.en"] == lines["valid.de"] == 12
    assert lines["test.en"] == lines["test.de"] == 6

    dictionaries = [
        Dictionary.load(str(folder / f"binary/dict.{side}.txt")) for side in ("en", "de")
    ]
    assert dictionaries[0].symbols == dictionaries[1].symbols
    for name, number in lines.items():
        split, language = name.split(".")
        path = folder / f"binary/{split}.en-de.{language}"
        assert len(indexed_dataset.make_dataset(str(path), impl="mmap")) == number
    assert "| file " in finished.stdout and "next: recipes/wmt14_train.sh en-de" in finished.stdout
    assert (folder / "sizes/table.md").read_text() in finished.stdout

    again = run("wmt14_prepare.sh", "en-de", **settings(server, tmp_path))
    assert headings(again.stdout) == [f"{name}: done" for name in STAGES]
    changed = run("wmt14_prepare.sh", "en-de", **settings(server, tmp_path) | {"VOCABULARY": 9})
    assert "use --clean to start over" in error(changed)
    # --clean keeps the archives.
    fresh = run("wmt14_prepare.sh", "en-de", "--clean", **settings(server, tmp_path), CORPORA="un")
    assert headings(fresh.stdout) == ["download"] and not (folder / "corpus").exists()
    assert len(list((tmp_path / "the archives").glob("*.tgz"))) == 5


@pytest.mark.slow
def test_killed_in_a_download_and_continued(server: Server, tmp_path: Path) -> None:
    asked = settings(server, tmp_path) | {"CORPORA": "commoncrawl"}
    server.faults[CRAWL] = iter([Fault(stall=1000)])
    part = tmp_path / "the archives/training-parallel-commoncrawl.tgz.part"
    begun = lambda: part.exists() and part.stat().st_size  # noqa: E731
    killed("wmt14_prepare.sh", "en-de", after=begun, **asked)
    assert 0 < part.stat().st_size <= 1000 and not part.with_suffix("").exists()

    # Then a test set that does not come in one piece, for good.
    server.faults["wmt14/test-full.tgz"] = itertools.repeat(Fault(wrong=b"no archive"))
    again = run("wmt14_prepare.sh", "en-de", **asked)
    assert again.returncode == 1 and "goes on after" in again.stdout
    assert server.asked(CRAWL)[1:] == [("bytes=1000-", 206)]
    assert f"the last try, {server.url}/wmt14/test-full.tgz: its sha256 should be" in again.stderr
    assert "stopped in stage download; the same command continues there" in again.stderr
    names = {path.name for path in (tmp_path / "the archives").iterdir()}
    assert names == {".lock", "dev.tgz", "training-parallel-commoncrawl.tgz"}
