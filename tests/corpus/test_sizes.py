"""The table of sizes and unknown rates."""

from pathlib import Path

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.sizes import find
from nmt_moe.corpus.wordpieces.__main__ import main

DICTIONARY = "\u2581the 1\n\u2581dog 1\ns 1\n\u2581 1\n2 1\n. 1\n"


def count(folder: Path, *paths: str) -> int:
    given = [str(folder / path) for path in paths]
    return main(["count", "--dict", str(folder / "dict.txt"), *given])


def test_sizes_and_unknown_pieces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dict.txt").write_text(DICTIONARY, encoding="utf-8")
    text = "\u2581the \u2581dog s \u2581 2 .\n\n\u2581the \u2581ö \u2581 漢 漢 x\n"
    (tmp_path / "train.de").write_text(text, encoding="utf-8")
    (tmp_path / "train.en").write_text("\u2581the \u2581dog s .\n", encoding="utf-8")
    (tmp_path / "train.en.draft").write_text("\u2581no\n", encoding="utf-8")
    assert count(tmp_path, "train", "train.en") == 0
    rows = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    heads = ["file", "lines", "words", "pieces", "pieces per word", "unknown", "share"]
    assert cells[0] == heads
    english = ["1", "2", "4", "2.00", "0", "0.0000%"]
    assert cells[2] == [f"{tmp_path}/train.de", "3", "6", "12", "2.00", "4", "33.3333%"]
    assert cells[3] == [f"{tmp_path}/train.en", *english]
    assert len(cells) == 5  # a file is shown once
    assert rows[4] == "most frequent unknown pieces: 漢 \u2581ö x"


def test_characters_that_are_spelled_in_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bytes_ = "".join(f"<0x{byte:02X}> 1\n" for byte in range(256))
    (tmp_path / "dict.txt").write_text(DICTIONARY + bytes_, encoding="utf-8")
    line = "\u2581the <0xE6> <0xBC> <0xA2> <0xE6> <0xBC> <0xA2> s \u2581 <0xC3> <0xB6> <0x07>\n"
    (tmp_path / "a").write_text(line, encoding="utf-8")
    assert count(tmp_path, "a") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "4 characters are spelled in bytes, most often: 漢 ö \\x07"
    assert "| 0.0000% |" in said[-2]


def test_names_may_hold_what_stands_for_other_characters(tmp_path: Path) -> None:
    folder = tmp_path / "run [1] *?"
    folder.mkdir()
    for name in ("a[x].en", "a[x].de", "ax.en", "b*.en", "bb.en", "c?.en", "[!d].en"):
        (folder / name).touch()
    assert find(folder / "a[x]") == [folder / "a[x].de", folder / "a[x].en"]
    for prefix in ("b*", "c?", "[!d]"):
        assert find(folder / prefix) == [folder / f"{prefix}.en"]


def test_files_of_a_prefix(tmp_path: Path) -> None:
    for name in ("a.en", "a.pt-br", "a.dict.txt", "a.en.draft", "ab.en", "a.7"):
        (tmp_path / name).touch()
    assert find(tmp_path / "a") == [tmp_path / "a.en", tmp_path / "a.pt-br"]
    assert find(tmp_path / "a.dict.txt") == [tmp_path / "a.dict.txt"]
    for missing in (tmp_path / "b", tmp_path / "none" / "a"):
        with pytest.raises(UserError, match="neither a file"):
            find(missing)


def test_a_file_that_is_no_dictionary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dict.txt").write_text("piece 1\nword\n")
    (tmp_path / "a").write_text("x\n")
    assert count(tmp_path, "a") == 1
    assert "dict.txt, line 2: not a dictionary" in capsys.readouterr().err
