"""The vocabulary of wordpieces, and a corpus cut into them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt_moe.corpus import wordpieces
from nmt_moe.corpus.lines import read_lines

SENTENCES = [
    "The dog runs through the park on May 3, 2021.",
    "Der Hund läuft am 3. Mai 2021 durch den Park.",
    "Two children play in the water, and a man sings.",
    "Zwei Kinder spielen im Wasser, und ein Mann singt.",
] * 20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, trained once."""
    folder = tmp_path_factory.mktemp("pieces")
    text = folder / "train.txt"
    text.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    assert wordpieces.main(["train", "--vocabulary", "90", "--out", f"{folder}/m", str(text)]) == 0
    return folder / "m.model"


def write(prefix: Path, source: list[str], target: list[str]) -> Path:
    for language, lines in (("en", source), ("de", target)):
        path = prefix.with_name(f"{prefix.name}.{language}")
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return prefix


def encode(model: Path, prefix: Path, *options: str) -> int:
    out = str(prefix) + ".pieces"
    return wordpieces.main(
        ["encode", "--model", str(model), "--langs", "en", "de", *options, str(prefix), out]
    )


def decode(line: str) -> str:
    """As fairseq's --bpe sentencepiece does."""
    return line.replace(" ", "").replace("\u2581", " ").strip()


def test_pieces_become_the_text_again(model: Path, tmp_path: Path) -> None:
    prefix = write(tmp_path / "test", SENTENCES[0:3:2], SENTENCES[1:4:2])
    assert encode(model, prefix) == 0
    for language, expected in (("en", SENTENCES[0:3:2]), ("de", SENTENCES[1:4:2])):
        lines = list(read_lines(tmp_path / f"test.pieces.{language}"))
        assert [decode(line) for line in lines] == expected


def test_the_dictionary_has_every_piece_and_fairseq_reads_it(model: Path) -> None:
    from fairseq.data import Dictionary

    dictionary = Dictionary.load(str(model.with_name("m.dict.txt")))
    processor = wordpieces.load(model)
    line = " ".join(processor.encode(SENTENCES[1], out_type=str))
    assert dictionary.unk() not in dictionary.encode_line(line, add_if_not_exist=False).tolist()
    assert len(dictionary) - dictionary.nspecial == processor.get_piece_size() - 3


def test_digits_are_pieces_of_their_own(model: Path) -> None:
    pieces = wordpieces.load(model).encode("2021", out_type=str)
    assert [piece.strip("\u2581") for piece in pieces if piece != "\u2581"] == list("2021")


@given(line=st.text(max_size=60))
def test_pieces_hold_nothing_that_splits_them_again(model: Path, line: str) -> None:
    pieces = wordpieces.load(model).encode(" ".join(line.split()), out_type=str)
    assert " ".join(pieces).split() == pieces


def test_training_text_loses_empty_and_long_pairs_and_says_so(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "dog " * 10_000
    source = ["The dog", "", "park", long, "water"]
    target = ["Der Hund", "leer", " ", "lang", "Wasser"]
    prefix = write(tmp_path / "train", source, target)
    assert encode(model, prefix, "--max-pieces", "50") == 0
    assert capsys.readouterr().out.strip() == (
        "train: 5 pairs, 2 kept; dropped 2 with an empty side and 1 with more than 50 pieces"
    )
    kept = [list(read_lines(tmp_path / f"train.pieces.{lang}")) for lang in ("en", "de")]
    assert [[decode(line) for line in lines] for lines in kept] == [
        ["The dog", "water"],
        ["Der Hund", "Wasser"],
    ]


def test_a_test_set_loses_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = write(tmp_path / "test", ["The dog", "", "dog " * 10_000], ["Der Hund", "x", "Hund"])
    assert encode(model, prefix, "--keep-all") == 0
    expected = "test: 3 pairs, all kept; 1 with an empty side and 1 with more than 250 pieces\n"
    assert capsys.readouterr().out == expected
    assert len(list(read_lines(tmp_path / "test.pieces.en"))) == 3


def test_text_in_one_language(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.txt").write_text("The dog\n\nThe park\n" + "dog " * 300 + "\n")
    files = [str(tmp_path / "train"), str(tmp_path / "pieces")]
    assert wordpieces.main(["encode", "--model", str(model), "--lang", "txt", *files]) == 0
    assert [decode(line) for line in read_lines(tmp_path / "pieces.txt")] == ["The dog", "The park"]
    expected = "train: 4 lines, 2 kept; dropped 1 empty and 1 with more than 250 pieces\n"
    assert capsys.readouterr().out == expected


def test_errors_are_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = write(tmp_path / "bad", ["a", "b"], ["A"])
    assert encode(model, bad) == 1
    assert encode(model, tmp_path / "missing") == 1
    assert encode(tmp_path / "no.model", bad) == 1
    (tmp_path / "latin.txt").write_bytes(b"one\n\xff\n")
    train = ["train", "--vocabulary", "50", "--out", str(tmp_path / "m")]
    assert wordpieces.main([*train, str(tmp_path / "latin.txt")]) == 1
    (tmp_path / "empty.txt").write_bytes(b"\n\n")
    assert wordpieces.main([*train, str(tmp_path / "empty.txt")]) == 1
    errors = capsys.readouterr().err.splitlines()
    expected = ["2 lines but", "missing.en", "no.model", "latin.txt, line 2", "no words"]
    assert len(errors) == len(expected)
    for error, words in zip(errors, expected, strict=True):
        assert error.startswith("error: ") and words in error


def test_a_failed_training_leaves_no_model(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_bytes(b"some words here\n\xff\n")
    wordpieces.main(["train", "--vocabulary", "20", "--out", str(tmp_path / "m"), str(text)])
    assert not (tmp_path / "m.model").exists()
