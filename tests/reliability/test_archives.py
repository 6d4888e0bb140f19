"""Archives made to do harm: nothing is written but the members that were asked for."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.corpus import archives, manifest, wmt14
from tests.tally import Tally
from tests.wmt14_archives import build

TEXT = b"kept\n"
END = b"\0" * 1024


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header that says any size, also one that no file can have."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    large = (255 if size < 0 else 128, *size.to_bytes(12, "big", signed=True)[1:])
    block[124:136] = b"%011o\0" % size if 0 <= size < 8**11 else bytes(large)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(name: str, value: str) -> bytes:
    """An extended header, which corrects the header that follows."""
    rest = f" {name}={value}\n"
    length = next(n for n in range(9999) if len(str(n)) + len(rest) == n)
    content = f"{length}{rest}".encode()
    return header("pax", len(content), tarfile.XHDTYPE) + content + b"\0" * (-len(content) % 512)


HARMFUL = ["/tmp/absolute", "../up", "a/../../up", "~/home", "..", "C:\\windows", "//host/x"]
KINDS = [
    *(tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE),
    tarfile.DIRTYPE,
]


def everything(root: Path) -> set[Path]:
    return {*root.rglob("*")}


def test_nothing_is_written_but_what_is_asked_for(tmp_path: Path, tally: Tally) -> None:
    """Links and devices have the names that are asked for, and come before the files."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in [*HARMFUL, "wanted"]:
            with tarfile.open(folder / "x.tar", "w") as tar:
                for kind in KINDS:
                    for target in ("/etc/passwd", "../../secret", "wanted"):
                        info = tarfile.TarInfo(name)
                        info.type, info.linkname = kind, target
                        tar.addfile(info)
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(TEXT), 0o7777
                tar.addfile(info, io.BytesIO(TEXT))
                info = tarfile.TarInfo("wanted")
                info.size = len(TEXT)
                tar.addfile(info, io.BytesIO(TEXT))
            before = everything(tmp_path)
            found = {wanted: io.BytesIO() for wanted in ("wanted", name)}
            archives.extract(folder / "x.tar", found)
            assert archives.trouble(folder / "x.tar") is None
            assert {content.getvalue() for content in found.values()} == {TEXT}
            assert everything(tmp_path) == before
            assert not Path("/tmp/absolute").exists()
            tally(faults=len(KINDS) * 3)


IMPOSSIBLE = {
    "negative": header("a", -512),
    "negative, in a loop": header("b", 0) + header("b", -1024),
    "negative extension": header("p", -512, tarfile.XHDTYPE),
    "huge": header("a", 1 << 60) + b"abc",
    "huge extension": header("p", 1 << 62, tarfile.XHDTYPE),
    "huge name": header("p", 1 << 62, tarfile.GNUTYPE_LONGNAME),
    "corrected to negative": pax("size", "-1024") + header("b", 0),
    "no number": pax("GNU.sparse.size", "x") + header("a", 512) + b"x" * 512,
}


@pytest.mark.timeout(100)
@pytest.mark.parametrize("packed", [False, True], ids=["tar", "tgz"])
@pytest.mark.parametrize("content", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_sizes_that_cannot_be(tmp_path: Path, content: bytes, packed: bool, tally: Tally) -> None:
    archive = tmp_path / "x.tgz"
    archive.write_bytes(gzip.compress(content + END) if packed else content + END)
    assert archives.trouble(archive)
    with pytest.raises(UserError, match=r"x\.tgz is truncated or damaged, (at|before) a: .+"):
        archives.extract(archive, {"a": io.BytesIO()})
    tally(faults=2)


def test_a_zip_is_no_archive_of_ours(tmp_path: Path, tally: Tally) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.tgz", "w") as packed:
        packed.writestr("../up", TEXT)
    before = everything(tmp_path)
    assert archives.trouble(tmp_path / "x.tgz")
    with pytest.raises(UserError, match="x.tgz is truncated or damaged"):
        archives.extract(tmp_path / "x.tgz", {"../up": io.BytesIO()})
    assert everything(tmp_path) == before
    tally(faults=1)


def test_a_test_set_that_unpacks_to_more_than_memory_should_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    """A gigabyte of zeros takes a megabyte of an archive."""
    monkeypatch.setattr(wmt14, "_LARGEST_SGM", 300)
    made = build(tmp_path / "made", lines=60)
    known = manifest.load(made / "manifest.json")
    folder = tmp_path / "archives"
    folder.mkdir()
    for path in made.glob("wmt*/*"):
        path.rename(folder / path.name)
    words = r"archives/dev\.tgz, dev/newstest2012-src\.en\.sgm has more than 300 bytes$"
    with pytest.raises(UserError, match=words):
        wmt14.prepare(known, folder, tmp_path / "out")
    assert not (tmp_path / "out/valid.en").exists()
    tally(faults=1)


@pytest.mark.parametrize("bad", ["..", ".", "", "x/..", "../../x/.."])
def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path, bad: str, tally: Tally) -> None:
    content = json.loads(manifest.find("en-de").read_text())
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content | {"archives": [*content["archives"], {"path": bad}]}))
    with pytest.raises(UserError, match="manifest.json is no manifest: '.*' cannot be in the name"):
        manifest.load(path)
    corpus = content["train"]["europarl-v7"]
    for changed in ({"train": {f"{bad}/x": corpus}}, {"test": {f"{bad}/x": corpus}}):
        path.write_text(json.dumps(content | changed))
        with pytest.raises(UserError, match="cannot be in the name of a file"):
            manifest.load(path)
    tally(faults=3)
