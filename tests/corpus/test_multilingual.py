"""Several pairs as one corpus: tags, counts, and no test sentence in any training text."""

import gzip
import math
from collections import Counter
from pathlib import Path

import pytest
from fairseq.data import Dictionary
from fairseq.data.data_utils import load_indexed_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from nmt_moe.common.errors import UserError
from nmt_moe.common.lines import read_lines
from nmt_moe.corpus.multilingual.__main__ import main
from nmt_moe.corpus.multilingual.mix import SPLITS, Counts, mix
from nmt_moe.corpus.multilingual.pairs import parse_pairs, tag
from nmt_moe.corpus.wordpieces import model as wordpieces
from tests.commands import run

WORDS = "ein zwei drei vier fünf one two three four five un deux trois quatre cinq".split()
# Short and few, so that the splits of the pairs share many.
SENTENCES = st.lists(st.sampled_from(WORDS[:6]), max_size=4).map(" ".join)
LINES = st.lists(st.tuples(SENTENCES, SENTENCES), min_size=4, max_size=8)
CORPUS = st.fixed_dictionaries(
    {pair: st.fixed_dictionaries(dict.fromkeys(SPLITS, LINES)) for pair in ("en-de", "de-en")},
    optional={"en-fr": st.fixed_dictionaries(dict.fromkeys(SPLITS, LINES))},
)
MAX_PIECES = 6


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wordpieces of a few words."""
    folder = tmp_path_factory.mktemp("wordpieces")
    (folder / "text").write_text("".join(f"{a} {b}\n" for a in WORDS for b in WORDS))
    wordpieces.train([folder / "text"], folder / "model", 60)
    return folder / "model"


@pytest.fixture(scope="module")
def model(prefix: Path) -> SentencePieceProcessor:
    return wordpieces.load(prefix.with_name("model.model"))


def write(folder: Path, pair: str, splits: dict[str, list[tuple[str, str]]]) -> Path:
    """The text of a pair as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, lines in splits.items():
        for side, language in enumerate(pair.split("-")):
            text = "".join(f"{line[side]}\n" for line in lines)
            (folder / f"{split}.{language}").write_text(text)
    return folder


def written(folder: Path, split: str) -> list[tuple[str, str]]:
    return list(
        zip(*(read_lines(folder / f"{split}.{side}") for side in ("src", "tgt")), strict=True)
    )


@settings(max_examples=60)
@given(corpus=CORPUS)
def test_what_is_kept_and_where(tmp_path_factory, model, corpus) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    pairs = {pair: write(folder / pair, pair, splits) for pair, splits in corpus.items()}
    held = {
        split: {
            (language, sentence)
            for pair, splits in corpus.items()
            for sentences in splits[split]
            for language, sentence in zip(pair.split("-"), sentences, strict=True)
            if sentence
        }
        for split in ("valid", "test")
    }
    forbidden = {"train": held["valid"] | held["test"], "valid": held["test"], "test": set()}
    wanted = {split: {pair: [] for pair in corpus} for split in SPLITS}
    odd, out = Counter(), Counter()
    for pair, splits in corpus.items():
        for split, lines in splits.items():
            for line in lines:
                if forbidden[split] & set(zip(pair.split("-"), line, strict=True)):
                    out[pair, split] += 1
                elif split != "test" and not all(
                    0 < len(model.encode(s)) <= MAX_PIECES for s in line
                ):
                    odd[pair, split] += 1
                else:
                    wanted[split][pair].append(line)
    if not all(lines for found in wanted.values() for lines in found.values()):
        with pytest.raises(UserError, match="no line of (train|valid) text is left"):
            mix(pairs, model, folder / "out", MAX_PIECES, 1, 1)
        return
    counts = mix(pairs, model, folder / "out", MAX_PIECES, 1, 1)
    for split, found in wanted.items():
        mixed = written(folder / "out", split)
        assert mixed == [line for pair in pairs for line in written(folder / "out" / pair, split)]
        assert [tuple(map(plain, line)) for line in mixed] == [
            line for lines in found.values() for line in lines
        ]
        first = [tag(pair[3:]) for pair, lines in found.items() for _ in lines]
        assert [source.split(" ")[0] for source, _ in mixed] == first
        for pair, lines in found.items():
            key, kept = (pair, split), len(lines)
            read = len(corpus[pair][split])
            assert counts[pair][split] == Counts(read, kept, out[key], odd[key], kept)


def plain(pieces: str) -> str:
    """The text of pieces, without tag."""
    kept = [piece for piece in pieces.split(" ") if not piece.startswith("<2")]
    return "".join(kept).replace("▁", " ").strip()


@pytest.mark.parametrize(("temperature", "times"), [(1, 1), (2, math.sqrt(10)), (5, 10**0.8)])
def test_temperature_repeats_smaller_pairs(tmp_path, model, temperature, times) -> None:
    def lines(number: int, words: list[str]) -> list[tuple[str, str]]:
        return [(f"{words[n % 5]} " * (n // 5 + 1), words[0]) for n in range(number)]

    large = {"train": lines(1000, WORDS[:5]), "valid": [("f", "f")], "test": [("e", "e")]}
    small = {"train": lines(100, WORDS[5:10]), "valid": [("d", "d")], "test": [("c", "c")]}
    pairs = {
        "de-en": write(tmp_path / "a", "de-en", large),
        "fr-es": write(tmp_path / "b", "fr-es", small),
    }
    counts = mix(pairs, model, tmp_path / "out", 1000, temperature, 1)
    found = Counter(written(tmp_path / "out", "train"))
    once = written(tmp_path / "out/fr-es", "train")
    assert len(once) == 100 and len(set(once)) == 100
    copies = [found[line] for line in once]
    assert set(copies) <= {math.floor(times), math.ceil(times)}
    assert counts["fr-es"]["train"].written == sum(copies) == pytest.approx(100 * times, rel=0.1)
    assert counts["de-en"]["train"].written == 1000
    assert counts["fr-es"]["valid"].written == counts["fr-es"]["test"].written == 1


def test_tags_are_one_piece_of_the_binary_data(tmp_path, prefix) -> None:
    splits = {
        "train": [("<2de> one", "ein"), ("two", "zwei")],  # a tag that a user typed is none
        "valid": [("three", "drei")],
        "test": [("four", "vier"), ("five", "fünf")],
    }
    folder = write(tmp_path / "text", "en-de", splits)
    write(
        folder, "de-en", {split: [line[::-1] for line in found] for split, found in splits.items()}
    )
    for name in ("train.de", "test.en"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    dictionary = prefix.with_name("model.dict.txt")
    out, made = tmp_path / "pieces", tmp_path / "binary"
    asked = ["mix", "--model", f"{prefix}.model", "--out", str(out)]
    for _ in range(2):  # again: each tag is in the dictionary once
        assert main([*asked, f"en-de={folder}", f"de-en={folder}"]) == 0
    lines = dictionary.read_text().splitlines()
    assert lines[-2:] == ["<2de> 1", "<2en> 1"] and lines.count("<2de> 1") == 1
    run(
        *("fairseq-preprocess", "--source-lang", "src", "--target-lang", "tgt"),
        *("--joined-dictionary", "--srcdict", dictionary, "--destdir", made),
        *(f"--{split}pref={out / split}" for split in SPLITS),
    )
    words = Dictionary.load(str(made / "dict.src.txt"))
    tags = {language: words.index(tag(language)) for language in ("de", "en")}
    assert words.unk() not in tags.values()
    for split, found in splits.items():
        sources = load_indexed_dataset(f"{made / split}.src-tgt.src", words)
        targets = load_indexed_dataset(f"{made / split}.src-tgt.tgt", words)
        assert len(sources) == len(targets) == 2 * len(found)
        for number, (source, target) in enumerate(zip(sources, targets, strict=True)):
            mine, other = [*tags.values()][:: 1 if number < len(found) else -1]
            assert source[0] == mine and mine not in source[1:] and other not in source
            assert not set(target.tolist()) & set(tags.values())


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["mix", "en-de"], "'en-de' is not PAIR=FOLDER"),
        (["mix", "en=a"], "'en' is not a pair of languages"),
        (["mix", "en-en=a"], "'en-en' is not a pair of languages"),
        (["mix", "en-de/fr=a"], "'en-de/fr' is not a pair of languages"),
        (["mix", "en-de=a", "en-de=b"], "en-de is given twice"),
        (["mix", "en-de=nowhere"], "there is no nowhere/valid.en and no valid.en.gz"),
        (["mix", "en-de=a", "--temperature", "0.5"], "--temperature must be at least 1, not 0.5"),
        (["mix", "en-de=a", "--temperature", "nan"], "--temperature must be at least 1, not nan"),
        (["learn", "en-de=nowhere"], "there is no nowhere/valid.en and no valid.en.gz"),
        (["pairs", "de", "en-xx"], "the phrasebook has no language 'xx'"),
    ],
)
def test_errors_are_one_line(prefix, tmp_path, monkeypatch, capsys, arguments, wrong) -> None:
    monkeypatch.chdir(tmp_path)
    where = {"mix": ["--model", f"{prefix}.model", "--out", "o"], "learn": ["--out", "o"]}
    assert main([*arguments, *where.get(arguments[0], [])]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and wrong in error and error.count("\n") == 1


def test_files_of_unequal_length_are_named(tmp_path, prefix, capsys) -> None:
    folder = write(tmp_path / "text", "en-de", {split: [("one", "ein")] for split in SPLITS})
    (folder / "train.de").write_text("ein\nzwei\n")
    (folder / "valid.en").write_text("two\n")
    (folder / "valid.de").write_text("zwei\n")
    asked = ["mix", f"en-de={folder}", "--model", f"{prefix}.model", "--out", str(tmp_path / "out")]
    assert main(asked) == 1
    assert "train.en has 1 lines but" in capsys.readouterr().err


def test_pairs_and_their_wordpieces(tmp_path, capsys) -> None:
    assert main(["pairs", "de", "es-fr", "en-de"]) == 0
    assert capsys.readouterr().out == "en-de de-en es-fr\n"
    splits = {
        "train": [("one two three", "ein zwei drei vier")] * 9 + [("one", "xq"), ("qj", "ein")],
        "valid": [("one", "ein")],
        "test": [("qj", "xq")],
    }
    folder = write(tmp_path / "text", "en-de", splits)
    asked = [f"en-de={folder}", f"de-en={folder}"]
    assert parse_pairs(asked) == {"en-de": folder, "de-en": folder}
    assert main(["learn", *asked, "--vocabulary", "40", "--out", str(tmp_path / "model")]) == 0
    model = wordpieces.load(tmp_path / "model.model")
    assert model.decode(model.encode("ein two")) == "ein two"
    numbers = [i for i in range(model.get_piece_size()) if not model.is_byte(i)]
    pieces = "".join(map(model.id_to_piece, numbers))
    assert not set(pieces) & set("qxj")  # which only test lines have
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["text"]
    assert " pieces of all languages" in capsys.readouterr().out
