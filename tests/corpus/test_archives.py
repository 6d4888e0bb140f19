"""Members come out as they went in; what is damaged is named."""

import gzip
import io
import tarfile
from pathlib import Path
from random import Random

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.corpus import archives
from tests.wmt14_archives import write

TEXT = {
    "text/a.en": b"a\r\nb\x00\xff\n" + Random(1).randbytes(3 << 20),
    "text/a.de": b"",
    "b": b"B",
}


def extract(archive: Path, *names: str) -> dict[str, bytes]:
    outputs = {name: io.BytesIO() for name in names}
    archives.extract(archive, outputs)
    return {name: output.getvalue() for name, output in outputs.items()}


@pytest.mark.parametrize("name", ["x.tgz", "x.tar"])
def test_bytes_are_the_same(tmp_path: Path, name: str) -> None:
    archive = tmp_path / name
    packed = {"c.gz": gzip.compress(b"one\n") + gzip.compress(b"two\n")}
    write(archive, TEXT | packed)
    assert extract(archive, "c.gz", "text/a.en") == {
        "c.gz": b"one\ntwo\n",
        "text/a.en": TEXT["text/a.en"],
    }
    assert extract(archive, "text/a.de", "b") == {"text/a.de": b"", "b": b"B"}
    assert archives.trouble(archive) is None


def test_names_with_a_dot_first(tmp_path: Path) -> None:
    write(tmp_path / "x.tar", {"./text/a.en": b"a\n"})
    assert extract(tmp_path / "x.tar", "text/a.en") == {"text/a.en": b"a\n"}


def test_what_is_not_there(tmp_path: Path) -> None:
    archive = tmp_path / "x.tgz"
    write(archive, TEXT)
    with tarfile.open(tmp_path / "links.tar", "w") as tar:
        link = tarfile.TarInfo("b")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(UserError, match="x.tgz has no text/a.fr and no b.fr$"):
        extract(archive, "text/a.en", "text/a.fr", "b.fr")
    with pytest.raises(UserError, match="links.tar has no b$"):
        extract(tmp_path / "links.tar", "b")


@pytest.mark.parametrize("name", ["x.tgz", "x.tar"])
def test_truncated_anywhere(tmp_path: Path, name: str) -> None:
    archive = tmp_path / name
    write(archive, TEXT)
    whole = archive.read_bytes()
    for end in [0, 1, 511, 700, 1024, 1536, 5000, 2 << 20, 3 << 20]:
        archive.write_bytes(whole[:end])
        with pytest.raises(UserError, match=rf"{name} is truncated or damaged, (at|before) .*: "):
            extract(archive, "text/a.en", "b")
        assert archives.trouble(archive), end
    if name == "x.tgz":  # a truncation after the members that are asked for
        archive.write_bytes(whole[:-1])
        assert "end-of-stream" in str(archives.trouble(archive))


def test_a_tar_without_its_end(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar"
    write(archive, {"a": b"A" * 512})
    whole = archive.read_bytes()
    members = whole.rstrip(b"\0")
    end = -(-len(members) // 512) * 512
    archive.write_bytes(whole[: end + 512])
    assert archives.trouble(archive) is None
    archive.write_bytes(whole[:end])
    assert archives.trouble(archive) == "its end is missing"


def test_damaged(tmp_path: Path) -> None:
    archive = tmp_path / "x.tgz"
    write(archive, TEXT)
    whole = bytearray(archive.read_bytes())
    whole[-6] ^= 1  # gzip's own checksum, after the last member
    archive.write_bytes(whole)
    assert "CRC" in str(archives.trouble(archive))
    archive.write_bytes(b"<html>down for maintenance</html>")
    assert archives.trouble(archive)
    with pytest.raises(UserError, match="x.tgz is truncated or damaged, before b: "):
        extract(archive, "b")


def test_a_damaged_member_of_an_archive_without_a_checksum(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(Random(1).randbytes(5000)))
    write(tmp_path / "x.tar", {"a.gz": bytes(packed)})
    assert archives.trouble(tmp_path / "x.tar") is None
    packed[2000] ^= 1
    write(tmp_path / "x.tar", {"a.gz": bytes(packed)})
    assert archives.trouble(tmp_path / "x.tar")


def test_a_truncated_member_in_a_whole_archive(tmp_path: Path) -> None:
    archive = tmp_path / "giga.tar"
    write(archive, {"x.en.gz": gzip.compress(b"one\n" * 100)[:-3], "x.fr.gz": b"no gzip"})
    for name in ("x.en.gz", "x.fr.gz"):
        with pytest.raises(UserError, match=rf"giga.tar is truncated or damaged, at {name}: "):
            extract(archive, name)
