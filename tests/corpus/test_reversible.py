"""Pieces give back their text: in sentencepiece, in files, dictionaries and fairseq."""

import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import pytest
from fairseq.data import Dictionary, encoders
from fairseq.tokenizer import tokenize_line
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

import nmt_moe.plugin  # noqa: F401  whose fix of decoding is tested
from nmt_moe.common.lines import read_lines
from nmt_moe.corpus.wordpieces import model as wordpieces
from nmt_moe.corpus.wordpieces import pieces as pieces_of
from nmt_moe.corpus.wordpieces.reversible import join

LEARNED = [
    "The dog runs through the park on May 3, 2021: 3½ hours, 10² metres, Acme™.",
    "Der Hund läuft am 3. Mai 2021 durch den Park.",
    "我现在要去旧车站，你呢？（ＡＢＣ）",
    "می\u200cخواهم به ایستگاه بروم.",
    "under\u2581scored \u2581 and reserved \u2585 text",
    "<unk> <s> </s> <pad> <0x41> <2de> madeupword0000 #fairseq:overwrite",
] * 10
TEXTS = [
    *LEARNED[:6],
    *("x<unk>x<s>x</s>x<pad>x<0xE6><0xBC><0xA2>x<2de>", "madeupword0000 </s> <unk>"),
    *("\u2581", "a\u2581b \u2581\u2581c", "\U000f2581", "\U000f25811 \U000f25810 \u25810"),
    *(
        "क्\u200dष क्\u200cष",
        "👩\u200d👩\u200d👧 ❤\ufe0f 🏳\ufe0f\u200d🌈 🇩🇪",
        "e\u0301 é \u212b Å ﬁ ㍿ Ⅷ",
    ),
    *("« 10\u00a0km »", "\tone\u3000two\u2028 three \x85", "", " ", "\ufeffmark", "\0nul\x1b[0m"),
    *("Donau" * 400, "犬" * 500, "\u0301" * 50),
]


@dataclass
class Pieces:
    """A vocabulary, and all that takes its pieces apart and puts them together."""

    model: SentencePieceProcessor
    dictionary: Dictionary
    bpe: encoders.sentencepiece_bpe.SentencepieceBPE


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Pieces:
    folder = tmp_path_factory.mktemp("reversible")
    (folder / "text").write_text("".join(f"{line}\n" for line in LEARNED), encoding="utf-8")
    wordpieces.train([folder / "text"], folder / "m", 200)
    path = str(folder / "m.model")
    options = Namespace(bpe="sentencepiece", sentencepiece_model=path)
    dictionary = Dictionary.load(str(folder / "m.dict.txt"))
    return Pieces(wordpieces.load(folder / "m.model"), dictionary, encoders.build_bpe(options))


def check(pieces: Pieces, text: str) -> None:
    """All ways from text to pieces and back end at the text, but for its white space."""
    expected = " ".join(text.split())
    cut = pieces.model.encode(text, out_type=str)
    assert pieces.model.decode(cut) == pieces.model.decode(pieces.model.encode(text)) == expected
    line = " ".join(cut)
    assert tokenize_line(line) == cut == line.split()
    assert join(cut).strip() == expected and pieces.bpe.decode(pieces.bpe.encode(text)) == expected
    numbers = pieces.dictionary.encode_line(line, add_if_not_exist=False)
    assert pieces.dictionary.unk() not in numbers.tolist()
    assert pieces.dictionary.string(numbers, "sentencepiece") == expected


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_texts_come_back(pieces: Pieces, text: str) -> None:
    check(pieces, text)


@settings(max_examples=300, deadline=None)
@given(
    text=st.lists(
        st.characters(exclude_categories=["Cs"])
        | st.sampled_from("\u2581\u2585\U000f2581\u200c\u200d\ufe0f\u030101<>/_ \u00a0")
        | st.sampled_from(["<unk>", "<s>", "</s>", "<pad>", "<0x41>", "<2de>", "\U000f25811"]),
        max_size=80,
    ).map("".join)
)
def test_any_text_comes_back(pieces: Pieces, text: str) -> None:
    check(pieces, text)


def test_every_character_comes_back(pieces: Pieces) -> None:
    """Unicode's letters, marks, numbers, punctuation, symbols, and all the others."""
    known = [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]
    for start in range(0, len(known), 2000):
        text = "".join(map(chr, known[start : start + 2000]))
        decoded = pieces.model.decode(pieces.model.encode(text))
        assert decoded == " ".join(text.split()), f"near U+{known[start]:04X}"


def test_what_is_known_is_no_bytes(pieces: Pieces) -> None:
    for text in LEARNED[:4]:
        assert "<0x" not in " ".join(pieces.model.encode(text, out_type=str))
    numbers = pieces.model.encode("0123456789 4567", out_type=str)
    assert [piece for piece in numbers if piece != "\u2581"] == [*"01234567894567"]
    assert pieces.model.encode("\u00a0dog \u2003 runs\t", out_type=str) == pieces.model.encode(
        "dog runs", out_type=str
    )


def test_what_no_text_is_cut_into_is_still_a_line() -> None:
    assert join(["\u2581a", "<0x0A>", "b", "<0xC2>", "<0x85>", "<0xE6>", "<0xBC>"]) == " a b \ufffd"
    assert join(["\u2581a", "<unk>", "\u2581<<unk>>", "<2de>"]) == " a<unk> <<unk>><2de>"


def test_other_options_of_fairseq_are_as_they_were(pieces: Pieces) -> None:
    numbers = pieces.dictionary.encode_line("\u2581 d o g <0x41>", add_if_not_exist=False)
    assert pieces.dictionary.string(numbers, None) == "\u2581 d o g <0x41>"
    assert pieces.dictionary.string(numbers, "@@ ") == "\u2581 d o g <0x41>"
    with pytest.raises(NotImplementedError):
        pieces.dictionary.string(numbers, "nonsense")


def test_models_made_before_keep_their_rules(tmp_path: Path) -> None:
    SentencePieceTrainer.train(
        sentence_iterator=iter(LEARNED), model_prefix=f"{tmp_path}/old", vocab_size=200,
        hard_vocab_limit=False, split_digits=True, minloglevel=2,
    )  # fmt: skip
    model = wordpieces.load(tmp_path / "old.model")
    text = "The dog  runs 3½ hours, Acme™."
    assert model.decode(model.encode(text)) == "The dog runs 31⁄2 hours, AcmeTM."
    bpe = encoders.build_bpe(
        Namespace(bpe="sentencepiece", sentencepiece_model=f"{tmp_path}/old.model")
    )
    assert bpe.decode(bpe.encode(text)) == "The dog runs 31⁄2 hours, AcmeTM."


def test_a_corpus_written_and_read(pieces: Pieces, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    counts = pieces_of.encode(
        pieces.model, [tmp_path / "a.txt"], [tmp_path / "p.txt"], pieces_of.Limits(), keep_all=True
    )
    assert counts.kept == len(TEXTS)
    lines = (tmp_path / "p.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert [pieces.bpe.decode(line) for line in lines] == [*read_lines(tmp_path / "a.txt")]
