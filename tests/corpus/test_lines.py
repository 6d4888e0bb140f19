"""Reading parallel text: alignment, and errors that name the file and the line."""

import gzip
from pathlib import Path

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.common.lines import read_lines, read_pairs


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("one\rtwo\u2028three\x85four\r\n\nfive\u00a0\u202fsix".encode())
    assert list(read_lines(path)) == ["one two three four", "", "five six"]


def test_gzipped_and_plain_text_read_alike(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a", tmp_path / "a.gz"
    plain.write_text("Grüße\nzwei\n", encoding="utf-8")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(read_lines(plain)) == list(read_lines(packed)) == ["Grüße", "zwei"]


def test_a_byte_order_mark_at_the_start_is_no_text(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a", tmp_path / "a.gz"
    plain.write_text("\ufeffGrüße\n\ufeffzwei\n", encoding="utf-8")  # two files in one
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(read_lines(plain)) == list(read_lines(packed)) == ["Grüße", "zwei"]
    plain.write_text("Grüße\n", encoding="utf-16")
    with pytest.raises(UserError, match=r"a, line 1: not valid UTF-8 .* but UTF-16: convert it"):
        list(read_lines(plain))


def test_invalid_utf8_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\nGr\xfc\xdfe\n")
    with pytest.raises(UserError, match=r"a\.txt, line 2: not valid UTF-8 \(byte 3\)"):
        list(read_lines(path))


def test_a_truncated_archive_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes(range(256)) * 100)[:-20])
    with pytest.raises(UserError, match=r"a\.gz"):
        list(read_lines(path))


@pytest.mark.parametrize(("sources", "targets"), [(3, 5), (5, 3), (1, 0), (0, 1)])
def test_files_of_different_length_are_an_error_with_both_lengths(
    tmp_path: Path, sources: int, targets: int
) -> None:
    source, target = tmp_path / "a.en", tmp_path / "a.de"
    source.write_text("x\n" * sources)
    target.write_text("x\n" * targets)
    with pytest.raises(UserError, match=rf"has {sources} lines but .* has {targets}:"):
        list(read_pairs(source, target))


def test_pairs_stay_together(tmp_path: Path) -> None:
    source, target = tmp_path / "a.en", tmp_path / "a.de"
    source.write_text("a\n\nc\n")
    target.write_text("A\nB\nC")
    assert list(read_pairs(source, target)) == [("a", "A"), ("", "B"), ("c", "C")]
