"""Raw lines in chunks: the lines of the file, whatever they hold."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.clean import reading
from nmt_moe.corpus.clean.reading import find, read_chunks

LINES = st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"\r")), max_size=12)


def write(path: Path, lines: list[bytes], end: bytes = b"\n") -> Path:
    content = b"\n".join(lines) + (end if lines else b"")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(source: Path, target: Path) -> list[tuple[bytes, bytes]]:
    pairs = []
    for chunk in read_chunks(source, target, "x"):
        assert chunk.first == len(pairs) + 1
        assert 0 < len(chunk.source) == len(chunk.target)
        pairs += zip(chunk.source, chunk.target, strict=True)
    return pairs


@given(sources=LINES, targets=LINES, pairs=st.integers(1, 5), size=st.integers(1, 60))
def test_lines_are_those_of_the_files(
    tmp_path_factory: pytest.TempPathFactory,
    sources: list[bytes],
    targets: list[bytes],
    pairs: int,
    size: int,
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    left, right = write(folder / "a.en", sources), write(folder / "a.de.gz", targets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_PAIRS", pairs)
        patch.setattr(reading, "_BYTES", size)
        if len(sources) != len(targets):
            counts = rf"a\.en has {len(sources)} lines but .*a\.de\.gz has {len(targets)}:"
            with pytest.raises(UserError, match=counts):
                read(left, right)
        else:
            assert read(left, right) == list(zip(sources, targets, strict=True))


def test_the_last_line_may_have_no_end(tmp_path: Path) -> None:
    left = write(tmp_path / "a.en", [b"a", b"b"], end=b"")
    right = write(tmp_path / "a.de", [b"c", b"d"])
    assert read(left, right) == [(b"a", b"c"), (b"b", b"d")]


@pytest.mark.parametrize("length", [9, 10, 11, 12, 21, 22, 23, 50])
def test_of_a_huge_line_only_the_start_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(reading, "MAX_LINE", 10)
    left = write(tmp_path / "a.en", [b"a", b"x" * length, b"b"])
    right = write(tmp_path / "a.de", [b"c", b"y", b"x" * length])
    start = b"x" * min(length, 11)
    assert read(left, right) == [(b"a", b"c"), (start, b"y"), (b"b", start)]


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    left = write(tmp_path / "a.en.gz", [b"%d" % number for number in range(9999)])
    right = write(tmp_path / "a.de", [b"%d" % number for number in range(9999)])
    for content in (left.read_bytes()[:-20], b"no archive"):
        left.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.en\.gz: cannot be read to its end"):
            read(left, right)


def test_a_file_is_found_plain_or_packed(tmp_path: Path) -> None:
    packed = write(tmp_path / "a.v9.en.gz", [b"a"])
    assert find(tmp_path / "a.v9", "en") == packed
    plain = write(tmp_path / "a.v9.en", [b"a"])
    assert find(tmp_path / "a.v9", "en") == plain
    with pytest.raises(UserError, match=r"neither .*a\.v9\.de nor a\.v9\.de\.gz"):
        find(tmp_path / "a.v9", "de")
