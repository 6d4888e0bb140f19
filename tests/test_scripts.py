"""Words and lengths in all scripts."""

import sys

import pytest

from nmt_moe.common.scripts import _OTHER, _worths, size, words


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        (" I  am going - now. ", 5),
        ("Größe, œuvre", 2),
        ("나는 지금 갑니다.", 3),
        ("नमस्ते दुनिया", 2),
        ("我现在要去旧车站。", 8),
        ("東京は、カレーだ", 7),
        ("iPhone 12发布会。", 5),
        ("「はい。」", 2),
        ("กำลังไป", 6),  # what stands above and below is no letter
        ("ខ្ញុំ ទៅ", 3),
        ("ꦏꦮꦶ", 2),
    ],
)
def test_words(text: str, number: int) -> None:
    assert words(text) == number


def test_sizes_are_those_of_latin_text() -> None:
    assert size("I am going") == (3, 10)
    assert size("Größe: 3 “m”, είναι, идёт") == (5, 25)
    assert size("나는 가요") == (2, 9)
    assert size("我要去。") == (1.5, 10)
    assert size("กำลังไป") == (7 / 6, 7)


def test_a_quick_look_finds_every_character_that_counts_otherwise() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        assert _worths[char] == 4 or _OTHER.match(char), hex(code)
