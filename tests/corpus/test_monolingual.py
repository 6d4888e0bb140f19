"""Text in one language, divided or given as three files."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt_moe.corpus import monolingual


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def read(folder: Path) -> dict[str, list[str]]:
    return {
        split: (folder / f"{split}.txt").read_text(encoding="utf-8").splitlines()
        for split in monolingual.SPLITS
    }


@given(
    lines=st.lists(st.text("abc", max_size=3), max_size=60),
    valid=st.integers(1, 4),
    test=st.integers(1, 4),
    seed=st.integers(0, 3),
    chance=st.randoms(),
)
def test_a_file_is_divided(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], valid, test, seed, chance
) -> None:
    folder = tmp_path_factory.mktemp("text")
    different = {line for line in lines if line}
    text = write(folder / "text", lines)
    if len(different) <= valid + test:
        with pytest.raises(ValueError, match=f"{len(different)} different lines: too few"):
            monolingual.prepare(text, folder, valid, test, seed)
        return
    written = monolingual.prepare(text, folder, valid, test, seed)
    splits = read(folder)
    assert {split: len(found) for split, found in splits.items()} == dict(written)
    assert (len(splits["valid"]), len(splits["test"])) == (valid, test)
    held = {*splits["valid"], *splits["test"]}
    assert len(held) == valid + test and held <= different
    assert splits["train"] == [line for line in lines if line and line not in held]

    # The choice depends on the lines alone, not on their order or their number.
    chance.shuffle(lines)
    monolingual.prepare(write(folder / "text", [*lines, *lines]), folder, valid, test, seed)
    assert {*read(folder)["test"]} == {*splits["test"]}


def test_another_seed_makes_another_choice(tmp_path: Path) -> None:
    text = write(tmp_path / "text", [f"line {number}" for number in range(100)])
    choices = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        options = ["--out", str(out), "--valid", "10", "--test", "10", "--seed", seed]
        assert monolingual.main([str(text), *options]) == 0
        choices.append(read(out)["test"])
    assert choices[0] != choices[1]


@given(st.lists(st.integers(0, 50)), st.integers(1, 10))
def test_smallest(values: list[int], number: int) -> None:
    assert monolingual.smallest(values, number) == sorted(set(values))[:number]


def test_three_files_stay_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "train.txt", ["one  dog", "", "two dogs"])
    write(tmp_path / "test.txt", ["two dogs"])
    (tmp_path / "valid.txt.gz").write_bytes(gzip.compress(b"one cat\n"))
    out = tmp_path / "out"
    assert monolingual.main([str(tmp_path), "--out", str(out)]) == 0
    assert capsys.readouterr().out == "train: 2 lines, valid: 1 lines, test: 1 lines\n"
    expected = {"train": ["one dog", "two dogs"], "valid": ["one cat"], "test": ["two dogs"]}
    assert read(out) == expected


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    out = ["--out", str(tmp_path / "out")]
    (tmp_path / "latin").write_bytes(b"one\n\xff\n")
    write(tmp_path / "empty", ["", " "])
    assert monolingual.main([str(tmp_path / "none"), *out]) == 1
    assert monolingual.main([str(tmp_path / "latin"), *out]) == 1
    assert monolingual.main([str(tmp_path / "empty"), *out]) == 1
    assert monolingual.main([str(tmp_path / "empty"), *out, "--test", "0"]) == 1
    for name in ("train.txt", "valid.txt"):
        assert monolingual.main([str(folder), *out]) == 1
        write(folder / name, ["a line"])
    write(folder / "test.txt", [""])
    assert monolingual.main([str(folder), *out]) == 1
    errors = capsys.readouterr().err.splitlines()
    expected = [
        *("none: cannot be read", "latin, line 2: not valid UTF-8", "0 different lines: too few"),
        *("--test must be at least 1, not 0", "neither train.txt nor train.txt.gz"),
        *("neither valid.txt nor", "there is no line of test text"),
    ]
    assert len(errors) == len(expected)
    for error, words in zip(errors, expected, strict=True):
        assert error.startswith("error: ") and words in error
