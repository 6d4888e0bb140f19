"""The rules of cleaning, pair by pair."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt_moe.corpus.clean.reading import MAX_LINE
from nmt_moe.corpus.clean.rules import INVISIBLE, SPACES, Limits, judge, normalise

# Of category Cf, but with a look of their own: signs around Arabic and Syriac numbers.
VISIBLE = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"

LIMITS = Limits(words=10, characters=100, ratio=2)


@pytest.mark.parametrize(
    ("line", "expected", "changed"),
    [
        ("plain text", "plain text", ()),
        ("  too  many   spaces ", "too many spaces", ()),
        ("a\rb\tc\x0bd", "a b c d", ("special",)),
        ("line end\r", "line end", ("special",)),
        ("12\u00a0000\u202f%\u2009!\u3000", "12 000 % !", ("special",)),
        ("one\u2028two\u2029three", "one two three", ("special",)),
        ("\ufeffze\u200bro\u00adwidth\x00\x7f", "zerowidth", ("special",)),
        ("\x84Nein\x93 \x85", "„Nein“ …", ("special",)),
        ("\x81\x8d", "", ("special",)),
        ("Q&amp;A &lt;b&gt; &#8222;x&#x201C; caf&eacute;", "Q&A <b> „x“ café", ("entities",)),
        ("1&nbsp;000&#10;&shy;x", "1 000 x", ("entities", "special")),
        ("AT&T; R&D &notes; &copy &#; a&b;", "AT&T; R&D &notes; &copy &#; a&b;", ()),
        ("Grüße, œuvre, Łódź, 東京, ✓, 👍", "Grüße, œuvre, Łódź, 東京, ✓, 👍", ()),
    ],
)
def test_what_is_changed(line: str, expected: str, changed: tuple[str, ...]) -> None:
    assert normalise(line) == (expected, changed)


def test_characters_are_those_of_unicode() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        category = unicodedata.category(char)
        if category in ("Zs", "Zl", "Zp") or (char.isspace() and char != "\x85"):
            assert char == " " or SPACES.fullmatch(char), hex(code)
            assert not INVISIBLE.match(char)
        elif 0x80 <= code < 0xA0:
            assert normalise(char)[0] == bytes([code]).decode("cp1252", errors="ignore")
        elif category in ("Cc", "Co"):
            assert INVISIBLE.fullmatch(char), hex(code)
        elif category == "Cf":
            seen = char in VISIBLE or 0x110BD <= code <= 0x1D17A
            assert bool(INVISIBLE.fullmatch(char)) != seen, hex(code)
        elif category not in ("Cn", "Cs"):
            assert not INVISIBLE.match(char) and not SPACES.match(char), hex(code)
            assert normalise(char) == (char, ())


@given(st.text())
def test_what_is_left_is_one_line_of_single_spaces(line: str) -> None:
    text, _ = normalise(line)
    assert text == " ".join(text.split())
    assert not SPACES.search(text.replace(" ", "")) and not INVISIBLE.search(text)
    assert text.splitlines() == [text] * bool(text)


def removed(source: str | bytes, target: str | bytes, limits: Limits = LIMITS) -> str | None:
    raw = [side.encode() if isinstance(side, str) else side for side in (source, target)]
    return judge(*raw, limits).removed


@pytest.mark.parametrize(
    ("source", "target", "rule"),
    [
        ("a dog", "ein Hund", None),
        (b"Gr\xfc\xdfe", "greetings", "encoding"),
        ("lost \ufffd", "text", "encoding"),
        ("", "text", "empty"),
        ("text", "\u200b\u00a0", "empty"),
        ("", "", "empty"),
        ("w " * 10, "x " * 10, None),
        ("w " * 11, "x " * 10, "long"),
        ("a" * 100, "b" * 100, None),
        ("a" * 100, "b" * 101, "long"),
        ("w" * MAX_LINE + "w", "x", "long"),
        (b"\xff" * (MAX_LINE + 1), "x", "long"),
        ("x", b"\xff" * (MAX_LINE + 1), "long"),
        ("w", "x y z x y z x", None),  # 2 times 1, and 5
        ("w", "x y z x y z x y", "ratio"),
        ("w" * 10, "x" * 50, None),  # 2 times 10, and 30
        ("w" * 10, "x" * 51, "ratio"),
        ("x" * 51, "w" * 10, "ratio"),
        ("same", " same\u00a0", "identical"),
        ("same", "Same", None),
    ],
)
def test_what_is_removed(source: str | bytes, target: str | bytes, rule: str | None) -> None:
    assert removed(source, target) == rule


def test_another_language_is_the_last_rule() -> None:
    def foreign(source: str, target: str) -> bool:
        return source == "a b"

    assert judge(b"a\xc2\xa0b", b"c", LIMITS, foreign).removed == "language"
    assert judge(b"a b", b"a b", LIMITS, foreign).removed == "identical"
    assert judge(b"a", b"b", LIMITS, foreign).removed is None
