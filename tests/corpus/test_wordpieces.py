"""The vocabulary of wordpieces, and a corpus cut into them."""

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt_moe.common.lines import read_lines
from nmt_moe.corpus.wordpieces import model as wordpieces
from nmt_moe.corpus.wordpieces.__main__ import main

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
    assert main(["train", "--vocabulary", "90", "--out", f"{folder}/m", str(text)]) == 0
    return folder / "m.model"


def write(prefix: Path, source: list[str], target: list[str]) -> Path:
    for language, lines in (("en", source), ("de", target)):
        path = prefix.with_name(f"{prefix.name}.{language}")
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return prefix


def encode(model: Path, prefix: Path, *options: str) -> int:
    out = str(prefix) + ".pieces"
    return main(
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
    assert capsys.readouterr().out == (
        "train: 5 pairs, 2 kept; dropped 2 with an empty side and 1 with more than 50 pieces\n"
        "\nwith an empty side, for example\n"
        "  line 2\n    en: \n    de: leer\n  line 3\n    en: park\n    de: \n"
        "\nwith more than 50 pieces, for example\n"
        f"  line 4\n    en: {long[:160]} ...\n    de: lang\n"
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


def test_the_source_of_a_test_set_can_be_cleaned(model: Path, tmp_path: Path) -> None:
    odd = "The\u200b d\xadog &amp; \ue000dog"
    prefix = write(tmp_path / "test", [odd, ""], [odd, "x"])
    kept = {}
    for option in ([], ["--clean-source"]):
        assert encode(model, prefix, "--keep-all", *option) == 0
        files = [tmp_path / f"test.pieces.{language}" for language in ("en", "de")]
        kept[bool(option)] = [list(read_lines(file)) for file in files]
    assert kept[True][1] == kept[False][1] == [*kept[False][0][:1], kept[True][1][1]]
    assert kept[True][0] == [
        " ".join(wordpieces.load(model).encode("The dog & dog", out_type=str)),
        "",
    ]


def test_text_in_one_language(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.txt").write_text("The dog\n\nThe park\n" + "dog " * 300 + "\n")
    files = [str(tmp_path / "train"), str(tmp_path / "pieces")]
    assert main(["encode", "--model", str(model), "--lang", "txt", *files]) == 0
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
    assert main([*train, str(tmp_path / "latin.txt")]) == 1
    (tmp_path / "empty.txt").write_bytes(b"\n\n")
    assert main([*train, str(tmp_path / "empty.txt")]) == 1
    errors = capsys.readouterr().err.splitlines()
    expected = ["2 lines but", "missing.en", "no.model", "latin.txt, line 2", "no words"]
    assert len(errors) == len(expected)
    for error, words in zip(errors, expected, strict=True):
        assert error.startswith("error: ") and words in error


def test_the_bytes_do_not_depend_on_the_workers(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = [f"The dog and {number}" if number % 7 else "" for number in range(3500)]
    prefix = write(tmp_path / "train", source, [f"Der Hund {number}" for number in range(3500)])
    written, said = [], []
    for workers in ("1", "3"):
        assert encode(model, prefix, "--workers", workers) == 0
        said.append(capsys.readouterr().out)
        written.append(
            [Path(f"{prefix}.pieces.{language}").read_bytes() for language in ("en", "de")]
        )
    assert written[0] == written[1] and said[0] == said[1]
    assert "3,500 pairs, 3,000 kept; dropped 500 with" in said[0]
    lines = [part.decode().splitlines() for part in written[0]]
    pairs = [tuple(map(decode, pair)) for pair in zip(*lines, strict=True)]
    assert pairs == [
        (f"The dog and {number}", f"Der Hund {number}") for number in range(3500) if number % 7
    ]


def test_the_limit_of_pieces_is_kept(model: Path, tmp_path: Path) -> None:
    prefix = write(tmp_path / "train", ["1 2", "1 2 3"], ["1 2", "1 2"])
    longest = len(wordpieces.load(model).encode("1 2 3"))
    for pieces, kept in ((longest, 2), (longest - 1, 1)):
        assert encode(model, prefix, "--max-pieces", str(pieces)) == 0
        assert len(list(read_lines(tmp_path / "train.pieces.en"))) == kept


def test_the_ratio_of_pieces(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = ["1 2", "1 2", "1 2 3", "1 2 3 4", "1", ""]  # a digit is a piece after its space
    other = ["1 2 3", "1 2 3 4", "1 2", "1", "1 2", "1 2 3"]
    prefix = write(tmp_path / "train", digits, other)
    pieces = wordpieces.load(model)
    pairs = zip(digits, other, strict=True)
    lengths = [[len(pieces.encode(line)) for line in pair] for pair in pairs]
    good = [bool(min(pair)) and max(pair) <= 1.5 * min(pair) for pair in lengths]
    assert good == [True, False, True, False, False, False]
    assert encode(model, prefix, "--max-ratio", "1.5") == 0
    assert capsys.readouterr().out == (
        "train: 6 pairs, 2 kept; dropped 1 with an empty side, 0 with more than 250 pieces "
        "and 3 with a ratio above 1.5\n"
        "\nwith an empty side, for example\n  line 6\n    en: \n    de: 1 2 3\n"
        "\nwith a ratio above 1.5, for example\n"
        "  line 2\n    en: 1 2\n    de: 1 2 3 4\n"
        "  line 4\n    en: 1 2 3 4\n    de: 1\n"
        "  line 5\n    en: 1\n    de: 1 2\n"
    )
    assert [decode(line) for line in read_lines(tmp_path / "train.pieces.en")] == ["1 2", "1 2 3"]
    assert encode(model, prefix, "--max-ratio", "1.5", "--keep-all") == 0
    assert capsys.readouterr().out.startswith("train: 6 pairs, all kept; 1 with an empty side")
    assert len(list(read_lines(tmp_path / "train.pieces.en"))) == 6


def learn(folder: Path, files: list[Path], *options: str) -> tuple[str, bytes]:
    """What training says, and the vocabulary."""
    out = folder / "learned"
    train = ["train", "--vocabulary", "80", "--out", str(out), *options]
    assert main([*train, *map(str, files)]) == 0
    return out.with_name("learned.dict.txt").read_text(), out.with_name(
        "learned.vocab"
    ).read_bytes()


def test_a_sample_is_learned_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = write(tmp_path / "text", SENTENCES[0::2] * 3, SENTENCES[1::2] * 2)
    files = [Path(f"{text}.en"), Path(f"{text}.de")]
    whole = learn(tmp_path, files)
    assert capsys.readouterr().out.endswith("learned from 200 of 200 lines\n")
    assert learn(tmp_path, files, "--sample", "200") == whole
    assert learn(tmp_path, files, "--sample", "100000") == whole
    assert capsys.readouterr().out.count("learned from 200 of 200 lines\n") == 2
    learn(tmp_path, files, "--sample", "30")
    assert capsys.readouterr().out.endswith("learned from 30 of 200 lines\n")


def test_the_sample_is_even_and_of_its_seed(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    for path, number in zip(files, (30, 10), strict=True):
        path.write_text("".join(f"{path.name}{line}\n" for line in range(number)))

    def sample(seed: int) -> list[str]:
        learned = wordpieces.Learned(0, 0, total=40)
        lines = list(wordpieces.chosen(files, learned, 8, seed))
        assert len(lines) == learned.lines == 8
        return lines

    assert sample(1) == sample(1) != sample(2)
    taken = Counter(line for seed in range(2000) for line in sample(seed))
    assert len(taken) == 40
    # Each line is in a fifth of the samples; 5 standard deviations are 89.
    assert all(abs(times - 400) < 89 for times in taken.values())
    assert sample(3) == sorted(sample(3), key=lambda line: (line[0], int(line[1:])))


def test_a_failed_training_leaves_no_model(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_bytes(b"some words here\n\xff\n")
    main(["train", "--vocabulary", "20", "--out", str(tmp_path / "m"), str(text)])
    assert not (tmp_path / "m.model").exists()


def test_rare_characters_may_stay_unknown(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("the cat sat on the mat\n" * 500 + "漢\n", encoding="utf-8")
    for coverage, known in ((1.0, True), (0.999, False)):
        wordpieces.train([text], tmp_path / "model", 30, coverage=coverage)
        assert ("漢 1" in (tmp_path / "model.dict.txt").read_text().splitlines()) == known


def test_long_lines_are_learned_from_in_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text"
    long = ["the cat sat " * 1000, "Donaudampfschiff" * 1000, "犬猫" * 3000]
    text.write_text("".join(f"{line}\n" for line in (*long, "a mat", "▅ bar")), encoding="utf-8")
    options = ["--vocabulary", "60", "--out", str(tmp_path / "m")]
    assert main(["train", *options, str(text)]) == 0
    assert capsys.readouterr().out.endswith("learned from 5 of 5 lines, 3 of them in parts\n")
    model = wordpieces.load(tmp_path / "m.model")
    for line in (*long, "a mat", "bar"):
        pieces = model.encode(line, out_type=str)
        assert "<0x" not in "".join(pieces) and len(pieces) < max(len(line) / 2, 6)
    text.write_text("x" * 100_000 + "\n")  # one word, and the only line
    assert main(["train", *options, str(text)]) == 0
    said = capsys.readouterr()
    assert said.out.endswith("learned from 1 of 1 lines, 1 of them in parts\n")
    assert said.err == "the text has no more of the 60 that were asked for\n"


def test_what_sentencepiece_cannot_do_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {"cat": "the cat sat on the mat\n" * 20, "bar": "▅▅\n▅\n"}
    for name, content in texts.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    out = ["--out", str(tmp_path / "m")]
    refused = {
        ("cat", "--coverage", "0.95"): "--coverage must be at least 0.98 and at most 1",
        ("cat", "--vocabulary", "10"): "give --vocabulary 13 or more, or a --coverage below 1",
        ("cat", "--vocabulary", "2000000000"): "must be at least 1 and at most 1000000",
        ("bar", "--vocabulary", "30"): "the training text holds no words",
    }
    for (name, *options), words in refused.items():
        assert main(["train", *out, *options, str(tmp_path / name)]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and words in line
    assert not (tmp_path / "m.model").exists()
    for options in (["--vocabulary", "13"], ["--coverage", "0.98"], ["--vocabulary", "1000000"]):
        assert main(["train", *out, *options, str(tmp_path / "cat")]) == 0
        said = capsys.readouterr().out
        assert said.endswith("learned from 20 of 20 lines\n")
        [(pieces, learned)] = re.findall(r"(\d+) pieces \((\d+) learned, 10 digits, 256 b", said)
        assert int(pieces) == int(learned) + 266
