"""The text of WMT'14 from archives in its layout, with dirt in them."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from nmt_moe.corpus import wmt14
from nmt_moe.corpus.manifest import PAIRS
from tests.wmt14_archives import Pair, build, write

NAMES = ["europarl-v7", "commoncrawl", "news-commentary-v9", "un", "giga-fren"]
# Each of these has split or shifted lines in some tool.
DIRT: list[Pair] = [
    (b"a\rb\r", b"A\r\r"),
    (b"n\x00ul", b"N\x0cUL\x1c"),
    ("d\u00e9j\u00e0\u00a0vu\u202f!\u2009\u2028x\u0085".encode(), b"\xff\xfe invalid \xc3"),
    (b"", b"empty source"),
    (b"&lt;b&gt; &amp; &nbsp;", b"&#10;"),
    (b"w " * 10_000, b"long"),
    (b"\r\n"[:1], b"\xe2\x80\xa8"),
]


def gather(folder: Path) -> Path:
    """The archives of a mirror, in one folder."""
    out = folder.with_name(folder.name + "-archives")
    out.mkdir()
    for path in folder.glob("wmt*/*"):
        shutil.copy(path, out / path.name)
    return out


@pytest.fixture(scope="module")
def mirrors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a mirror for each pair, with dirt in each training corpus."""
    folder = tmp_path_factory.mktemp("mirrors")
    for pair in PAIRS:
        build(folder / pair, pair, dirt=dict.fromkeys(NAMES, DIRT))
    return folder


@pytest.fixture
def german(mirrors: Path) -> Path:
    return mirrors / "en-de"


def run(mirror: Path, archives: Path, out: Path, *options: str) -> int:
    manifest = ["--manifest", str(mirror / "manifest.json"), "--archives", str(archives)]
    return wmt14.main([mirror.name, *manifest, "--out", str(out), *options])


def lines(path: Path) -> list[bytes]:
    content = path.read_bytes().split(b"\n")
    assert content.pop() == b""
    return content


@pytest.mark.parametrize("pair", PAIRS)
def test_text_is_raw_and_aligned(
    mirrors: Path, pair: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archives = gather(mirrors / pair)
    assert run(mirrors / pair, archives, tmp_path, "--test", "full", "filtered") == 0
    target = pair[3:]
    corpora = 3 if target == "de" else 5
    printed = capsys.readouterr().out.splitlines()
    assert printed[:corpora] == [
        f"train, {name}: {60 + len(DIRT)} pairs" for name in NAMES[:corpora]
    ]
    assert printed[corpora:] == [
        "valid, newstest2012 of dev.tgz and newstest2013 of dev.tgz: 12 pairs",
        "test, full of test-full.tgz: 6 pairs",
        "test-filtered, filtered of test-filtered.tgz: 6 pairs",
    ]
    assert len(list((tmp_path / "train").iterdir())) == 2 * corpora
    for source in (tmp_path / "train").glob("*.en"):
        sides = [lines(source), lines(source.with_suffix(f".{target}"))]
        assert list(zip(*sides, strict=True))[: len(DIRT)] == DIRT
    for split in ("valid", "test", "test-filtered"):
        assert len(lines(tmp_path / f"{split}.en")) == len(lines(tmp_path / f"{split}.{target}"))


def change(
    mirror: Path, tmp_path: Path, contents: dict[str, dict[str, bytes]]
) -> tuple[Path, Path]:
    """A mirror and its archives, of which some have other members and no known checksum."""
    changed = tmp_path / mirror.name
    shutil.copytree(mirror, changed)
    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["archives"] = [{"path": entry["path"]} for entry in manifest["archives"]]
    (changed / "manifest.json").write_text(json.dumps(manifest))
    for path, members in contents.items():
        write(changed / path, members)
    return changed, gather(changed)


def error(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.startswith("error: ") and text.count("\n") == 1
    return text


def test_sides_of_different_length(
    german: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {"commoncrawl.de-en.en": b"1\n2\r3\n" * 5, "commoncrawl.de-en.de": b"1\n" * 8 + b"9"}
    changed, archives = change(
        german, tmp_path, {"wmt13/training-parallel-commoncrawl.tgz": members}
    )
    assert run(changed, archives, tmp_path / "out") == 1
    words = "commoncrawl.de-en.en has 10 lines but commoncrawl.de-en.de has 9: no line"
    assert f"training-parallel-commoncrawl.tgz: {words}" in error(capsys)
    names = {path.name for path in (tmp_path / "out/train").iterdir()}
    assert names == {"europarl-v7.en", "europarl-v7.de"}


def test_a_last_line_without_an_end(german: Path, tmp_path: Path) -> None:
    members = {"commoncrawl.de-en.en": b"1\n2", "commoncrawl.de-en.de": b"1\n2\n"}
    changed, archives = change(
        german, tmp_path, {"wmt13/training-parallel-commoncrawl.tgz": members}
    )
    assert run(changed, archives, tmp_path / "out", "--corpora", "commoncrawl") == 0
    assert (tmp_path / "out/train/commoncrawl.en").read_bytes() == b"1\n2\n"
    assert len(list((tmp_path / "out/train").iterdir())) == 2


def test_archives_that_are_not_right(
    german: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "training-parallel-nc-v9.tgz"
    changed, archives = change(german, tmp_path, {})
    whole = (archives / name).read_bytes()
    (archives / name).write_bytes(whole[:-30])
    assert run(changed, archives, tmp_path / "out") == 1
    assert f"{name}: it is no complete archive: Compressed file ended" in error(capsys)
    # The manifest that knows checksums finds it too, before anything is written.
    assert run(german, archives, tmp_path / "out") == 1
    assert f"{name}: its sha256 should be " in error(capsys)
    (archives / name).unlink()
    assert run(changed, archives, tmp_path / "out") == 1
    assert f"no archive {archives / name}: get it with" in error(capsys)
    assert not (tmp_path / "out").exists()
    write(archives / name, {"training/news-commentary-v9.de-en.en": b"1\n"})
    assert run(changed, archives, tmp_path / "out") == 1
    assert f"{name} has no training/news-commentary-v9.de-en.de" in error(capsys)
    assert not list((tmp_path / "out/train").glob("news*"))


def test_test_sets_that_do_not_match(
    german: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {
        "test-full/newstest2014-deen-src.en.sgm": b"<doc docid='a'><seg id='1'>x</seg>",
        "test-full/newstest2014-deen-ref.de.sgm": b"<doc docid='b'><seg id='1'>x</seg>",
    }
    changed, archives = change(german, tmp_path, {"wmt14/test-full.tgz": members})
    assert run(changed, archives, tmp_path / "out") == 1
    names = [f"{archives}/test-full.tgz, {member}" for member in members]
    assert f"{names[0]} and {names[1]} do not match: segment 1 is 1 of 'a'" in error(capsys)


def test_entities_of_a_test_set(german: Path, tmp_path: Path) -> None:
    text: Sequence[bytes] = [
        f"<doc docid='a'><seg id='1'>A&amp;B &quot;{side}&quot;&#10;x</seg>\n".encode()
        for side in "st"
    ]
    names = ("test-full/newstest2014-deen-src.en.sgm", "test-full/newstest2014-deen-ref.de.sgm")
    changed, archives = change(
        german, tmp_path, {"wmt14/test-full.tgz": dict(zip(names, text, strict=True))}
    )
    assert run(changed, archives, tmp_path / "out") == 0
    assert (tmp_path / "out/test.en").read_text() == 'A&B "s" x\n'
    assert (tmp_path / "out/test.de").read_text() == 'A&B "t" x\n'
