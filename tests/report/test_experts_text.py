from fairseq.data import Dictionary

from nmt_moe.report.experts.text import Spelling
from tests.report.experts import dictionary


def test_wordpieces_are_put_together() -> None:
    words = Dictionary()
    for piece in ("▁the", "▁do", "g", "s", "▁", "."):
        words.add_symbol(piece)
    spelling = Spelling(words)
    assert spelling.text(["▁the", "▁do", "g", "s", "."]) == " the dogs."
    assert spelling.text(["s", "."]) == "s."
    assert spelling.text(["▁do", "g", "▁", ".", "</s>"]) == " dog . </s>"
    assert spelling.pieces([2, 4]) == ["</s>", "▁the"] and spelling.piece(3) == "<unk>"


def test_characters_that_are_spelled_in_bytes_are_put_together() -> None:
    words = Dictionary()
    for piece in ("▁", "<0xC3>", "<0xB6>", "d"):
        words.add_symbol(piece)
    assert Spelling(words).text(["▁", "<0xC3>", "<0xB6>", "d", "</s>"]) == " öd </s>"


def test_words_stand_apart() -> None:
    assert Spelling(dictionary()).text(["big", "dog", "</s>"]) == " big dog </s>"
