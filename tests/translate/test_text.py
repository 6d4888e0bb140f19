"""Any bytes as lines, lines as sentences, sentences as parts."""

import time
from itertools import chain, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nmt_moe.trained.text import cut, joined
from nmt_moe.translate.sentences import Sentences
from nmt_moe.translate.text import buffered, read_clean, translate_lines

ODD = [*"\x84\r\0\u2028\u0085\u00a0\ufeff\x0b\x1caÉ ."]


@given(st.lists(st.lists(st.sampled_from(ODD)).map("".join), max_size=8))
@example(["\r\r", "a\u2028a\x0cÉ\0a", "", "\ufeffa"])
def test_a_line_stays_a_line(lines: list[str]) -> None:
    found = list(read_clean(f"{line}\n".encode() for line in lines))
    assert len(found) == len(lines)
    for line, text in zip(lines, found, strict=True):
        assert text == " ".join(text.splitlines()) == " ".join(text.split())
        # Of Windows-1252 come U+0084 and U+0085, a quote and three dots.
        kept = line.translate({0x84: "„", 0x85: "…"})
        assert text.replace(" ", "") == "".join(c for c in kept if c in "aÉ.„…")


def test_special_characters_are_those_of_cleaned_text() -> None:
    found = list(read_clean([f"{c}\n".encode() for c in ("so\xadft\u200b\u202fone", "&amp;\x92s")]))
    assert found == ["soft one", "&amp;’s"]  # plain text has no entities


def test_what_is_not_utf8_is_replaced_with_one_warning(capsys) -> None:
    found = list(read_clean([b"one\n", b"t\xffwo\n", b"\xc3\n", b"four"]))
    assert found == ["one", "t�wo", "�", "four"]
    assert capsys.readouterr().err == "warning: line 2 is not valid UTF-8: replaced\n"


@given(st.lists(st.text("ab", max_size=9)), st.integers(1, 5), st.integers(1, 12))
def test_buffers_hold_all_lines_and_end_in_time(lines, number, characters) -> None:
    found = list(buffered(lines, number, characters))
    assert [line for buffer in found for line in buffer] == lines
    for buffer in found:
        assert 0 < len(buffer) <= number
        assert len("".join(buffer[:-1])) < characters
    for buffer in found[:-1]:
        assert len(buffer) == number or len("".join(buffer)) >= characters


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("en", ["Mr. J. R. Miller, Ph.D., paid $3.50.", "Why?", 'He said: "Go home."', "E.g. so."]),
        ("en", ["See Fig. 3 and No. 5, by A. B. Jones of Acme Inc. in 1990.", "That is all..."]),
        (
            "de",
            ["Dr. Müller kommt am 3. Oktober, z. B. um 5 Uhr.", "Gut!", "Er lebt im 19. Stock."],
        ),
        ("de", ["Das gilt z.B. für Hunde usw. und bzw. Vögel, d.h. alle.", "Wirklich?"]),
        ("fr", ["M. Dupont est arrivé avec M. J. Martin.", "N'est-ce pas ?", "Oui, p. ex. ici."]),
        ("fr_FR", ["Il dit : « Bonjour. »", "Puis M. Dupont partit."]),
        ("zh", ["他来了。", "“好吗？”", "很好！！", "3.5 元。"]),
        ("ja", ["「行こう。」", "雨だ。"]),
        ("hi", ["वह आया।", "अच्छा।"]),
        ("xx", ["Mr. Miller paid.", "He left."]),
        ("a", ["Mr. Miller paid.", "He left."]),
    ],
)
def test_sentences(language: str, sentences: list[str]) -> None:
    assert Sentences(language)(" ".join(sentences)) == sentences


def test_wide_marks_end_sentences_without_a_space() -> None:
    sentences = ["他来了。", "“好吗？”", "很好！！", "a" * 300 + "。", "完"]
    assert Sentences("zh")("".join(sentences)) == sentences


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("ja", ["「はい。」と言った。", "「行こう。雨だ。」って。", "彼は（笑）来た。", "え？！"]),
        ("zh_CN", ["“你好。”他说。", "她哭了。", "iPhone很好！", "（他不来。）", "好吗?", "很好."]),
        ("zho_Hant", ['他說："你好。再見。"', "然後走了！"]),
        ("yue", ["佢嚟咗。", "好呀！"]),
    ],
)  # fmt: skip
def test_sentences_without_spaces(language: str, sentences: list[str]) -> None:
    assert Sentences(language)("".join(sentences)) == sentences


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("ur", ["وہ آیا۔", "کیا تم ٹھیک ہو؟", "۳۔۵ روپے۔"]),
        ("ar_EG", ["كيف حالك؟", "جاء د. محمد أمس.", "هل جاء؟!", "قال: «كيف؟ أنا هنا.»", "نعم."]),
        ("fa", ["حالت چطوره؟", "خوبم."]),
        ("hi", ["वह आया॥", "डॉ. राम आये।", "क्या?", "हाँ।"]),
        ("bn", ["সে এসেছে।", "ডা. রহমান এসেছেন।"]),
        ("te", ["అతను వచ్చాడు.", "బాగుంది."]),
        ("hy", ["Նա եկավ։", "Լավ:", "Այո։"]),
        ("am", ["ሰላም።", "እንዴት ነህ፧", "ደህና፡፡", "እሺ።"]),
        ("km", ["គាត់មក។", "ល្អ។"]),
        ("my", ["သူလာသည်။", "ကောင်းတယ်၊ ဟုတ်။"]),
        ("bo", ["༄༅། །ང་འགྲོ།", "ཁྱོད་སྡོད། །"]),
        ("ell", ["Τι κάνεις;", "Καλά.", "Ποιος ήρθε; ο Νίκος."]),
        ("ka", ["გამარჯობა.", "როგორ ხარ?", "კარგად."]),
        ("he", ["שלום.", "מה שלומך?", "ד. לוי בא!"]),
        ("ko", ["안녕하세요.", "반갑습니다.", "뭐라고요?", "네!"]),
        ("es_MX", ["¿Cómo estás?", "¡Bien!", "El Sr. López vino.", "¿Y tú?"]),
        ("ger", ["Dr. Müller kommt am 3. Oktober.", "Gut!"]),
        ("en", ["Wow‼ really.", "Yes‼", "“Really?” he asked."]),
        ("th", ["เขามาแล้ว ดีมาก"]),
    ],
)
def test_sentences_of_all_scripts(language: str, sentences: list[str]) -> None:
    assert Sentences(language)(" ".join(sentences)) == sentences


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (["他来了。", "她走了。"], "他来了。她走了。"),
        (["“好。”", "Apple很好。", "“走！”"], "“好。”Apple很好。“走！”"),
        (["はい。", "OK.", "そう。"], "はい。OK.そう。"),
        (["我用Mac.", "他不用", "很好"], "我用Mac.他不用很好"),
        (["안녕.", "大韓民國", "나라."], "안녕. 大韓民國 나라."),
        (["เขามา", "ดี"], "เขามา ดี"),
        (["नमस्ते।", "हाँ।"], "नमस्ते। हाँ।"),
        (["Hello.", "", "“World.”"], "Hello. “World.”"),
        (["བཀྲ་", "ཤིས།"], "བཀྲ་ཤིས།"),
        ([], ""),
    ],
)
def test_translations_are_put_together_as_their_script_does(texts: list[str], line: str) -> None:
    assert joined(texts) == line


@pytest.mark.parametrize("repeated", ["。", "「", '"', "。」", "！？", "他.", "། ", "؟ ", "؟"])
def test_sentences_take_no_longer_than_the_line(repeated: str) -> None:
    start = time.process_time()
    found = Sentences("zh")(repeated * 16_000)
    assert joined(found).replace(" ", "") == (repeated * 16_000).replace(" ", "")
    assert time.process_time() - start < 10  # of quadratic work more


@given(st.text("aA .?!\"'()«»\n1。！「」“”؟。だ说་།", max_size=60))
def test_no_character_of_a_line_is_lost(text: str) -> None:
    found = Sentences("en")(" ".join(text.split()))
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(found)


PIECES = st.lists(st.sampled_from(["▁a", "b", ",", "▁,", ")", "▁"]), max_size=30)


@given(PIECES, st.integers(1, 8))
def test_parts_are_the_same_pieces_and_short_enough(pieces: list[str], limit: int) -> None:
    parts = cut(pieces, limit)
    assert [piece for part in parts for piece in part] == pieces
    assert all(len(part) <= limit for part in parts)
    assert len(parts) == 1 or all(parts)
    for part, following in pairwise(parts):
        if not following[0].startswith("▁"):  # inside a word: only where there is no other place
            assert len(part) == limit
            assert not any(piece.startswith("▁") for piece in part[1:])


def test_a_row_of_dots_takes_no_time() -> None:
    line = f"Contents {'.' * 10_000} 12 B. Next."
    start = time.process_time()
    assert Sentences("en")(line) == [line]
    assert time.process_time() - start < 5  # some 12 minutes by the rules


def test_parts_end_after_clauses_then_words() -> None:
    words = "▁a ▁b , ▁c ▁d ▁e , ▁f ▁g ▁h".split()
    assert cut(words, 8) == [words[:7], words[7:]]
    assert cut(words, 5) == [words[:3], words[3:7], words[7:]]
    early = "▁a , ▁b ▁c ▁d ▁e".split()
    assert cut(early, 5) == [early[:5], early[5:]]  # the comma would leave a part too short
    assert cut(words, 10) == [words]
    assert cut("▁他 来 了 ， 很 好".split(), 5) == ["▁他 来 了 ，".split(), ["很", "好"]]
    # Without spaces any piece begins a word, and a part is not cut short for a space.
    assert cut(["▁NBA", "▁很", "好", "很", "好", "吗"], 5) == [
        ["▁NBA", "▁很", "好", "很", "好"],
        ["吗"],
    ]
    assert cut(["▁", *"กขคง", "ั"], 5) == [
        ["▁", *"กขค"],
        ["ง", "ั"],
    ]  # not between a letter and its mark
    assert cut("▁هل ، ▁نعم ؛ ▁لا ▁لا".split(), 5) == ["▁هل ، ▁نعم ؛".split(), ["▁لا", "▁لا"]]
    assert cut(["▁a", *"bcdef"], 4) == [["▁a", "b", "c", "d"], ["e", "f"]]


def test_lines_are_translated_as_they_come_and_in_order() -> None:
    read = []

    def lines():
        for line in ["One. Two.", "", "Three", "Four. Five. Six."]:
            read.append(line)
            yield line

    def upper(sentences: list[str]) -> list[str]:
        return [sentence.upper().rstrip(".") for sentence in sentences]

    found = translate_lines(lines(), upper, Sentences("en"), buffer_lines=2)
    assert next(found) == ["ONE TWO", ""] and len(read) == 2
    assert next(found) == ["THREE", "FOUR FIVE SIX"] and len(read) == 4
    assert list(found) == []
    whole = translate_lines(lines(), upper, None, buffer_lines=9)
    assert list(whole) == [["ONE. TWO", "", "THREE", "FOUR. FIVE. SIX"]]


def test_no_part_ends_within_a_character() -> None:
    spelled = [f"<0x{byte:02X}>" for byte in "犬é👩".encode() * 3]
    for limit in range(4, 9):
        parts = cut(["▁", "x", *spelled], limit)
        assert [*chain(*parts)] == ["▁", "x", *spelled] and max(map(len, parts)) <= limit
        texts = [bytes(int(p[3:5], 16) for p in part if p[0] == "<") for part in parts]
        assert b"".join(texts).decode() == "".join(text.decode() for text in texts)
    assert cut(["<0xF0>", *["<0x9F>"] * 5], 3) == [["<0xF0>", "<0x9F>", "<0x9F>"], ["<0x9F>"] * 3]
