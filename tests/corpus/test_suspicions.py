"""What looks wrong with a text is said with its lines, and nothing of a text that is right."""

import random
import tracemalloc
from collections.abc import Callable
from itertools import islice

import pytest

from nmt_moe.corpus import identify
from nmt_moe.corpus.phrasebook.generate import build
from nmt_moe.corpus.sources import Pair
from nmt_moe.corpus.suspicions import look

Sides = tuple[list[str], list[str]]
_DIGITS = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")


@pytest.fixture(scope="module")
def phrases() -> Sides:
    sentences = build(2000, 10, 10, 1)["train"]
    return [one.en for one in sentences], [one.text("de") for one in sentences]


def lengths(number: int) -> list[int]:
    chance = random.Random(3)
    return [chance.randint(2, 20) for _ in range(number)]


def chinese(number: int = 1500) -> Sides:
    """As long as each other, with numbers in common; no other language says more here."""
    chance = random.Random(4)
    words = "the cat of a king goes to old town and never sees big dogs there".split()
    left = [
        "".join(chance.choices("我们喜欢在家里看书和猫狗", k=n)) + f" {n}。"
        for n in lengths(number)
    ]
    right = [" ".join(chance.choices(words, k=n)) + f" {n}." for n in lengths(number)]
    return left, right


def persian(number: int = 1500) -> Sides:
    words = "می‌خواهم کتاب سلام خانه بزرگ است و آب نان".split()
    chance = random.Random(5)
    left = [
        " ".join(chance.choices(words, k=n)) + f" {n}؟".translate(_DIGITS) for n in lengths(number)
    ]
    return left, [text.replace("。", "?").replace(".", "?") for text in chinese(number)[1]]


def kinds(sides: Sides, source: str, target: str) -> dict[str, tuple[tuple[int, ...], str]]:
    pairs = [Pair(*both, number) for number, both in enumerate(zip(*sides, strict=False), 1)]
    found = look(pairs, source, target)
    assert all("\n" not in one.message for one in found)
    return {one.kind: (one.lines, one.message) for one in found}


@pytest.mark.parametrize("langid", [True, False])
def test_nothing_is_wrong(phrases: Sides, langid: bool, monkeypatch) -> None:
    if not langid:
        monkeypatch.setattr(identify, "_classifier", absent)
    assert kinds(phrases, "en", "de") == {}
    assert kinds(phrases[::-1], "de", "en") == {}
    assert kinds(chinese(), "zh", "en") == {}
    assert kinds(persian(), "fa", "en") == {}
    assert kinds((["我们"], ["we"]), "zh", "en") == {}
    assert kinds(([], []), "en", "de") == {}


def absent() -> None:
    """py3langid is not installed."""


def removed(place: int) -> Callable[[Sides], Sides]:
    return lambda sides: (sides[0], sides[1][: place - 1] + sides[1][place:])


def shuffled(sides: Sides) -> Sides:
    return sides[0], random.Random(1).sample(sides[1], len(sides[1]))


@pytest.mark.parametrize("text", ["phrases", "chinese", "persian"])
@pytest.mark.parametrize("place", [1, 700, 1200])
def test_misaligned_from_a_line_on(phrases: Sides, text: str, place: int, monkeypatch) -> None:
    monkeypatch.setattr(identify, "_classifier", absent)
    sides, source, target = {
        "phrases": (phrases, "en", "de"),
        "chinese": (chinese(), "zh", "en"),
        "persian": (persian(), "fa", "en"),
    }[text]
    (lines, said), *others = kinds(removed(place)(sides), source, target).values()
    assert not others and abs(lines[0] - place) <= 25
    assert "translations stand 1 line before their sentences: a line of the target is" in said
    assert said.startswith("all lines: " if lines[0] == 1 else f"from line {lines[0]:,} on: ")
    (lines, said), *others = kinds(removed(place)(sides[::-1])[::-1], source, target).values()
    assert "1 line after their sentences: a line of the source" in said


def test_sides_that_do_not_belong_together(phrases: Sides) -> None:
    for sides, source, target in ((phrases, "en", "de"), (chinese(), "zh", "en")):
        found = kinds(shuffled(sides), source, target)
        assert [*found] == ["misaligned"]
        assert found["misaligned"][1].endswith(
            ": the sides do not look like translations of each other"
        )


def test_swapped_columns(phrases: Sides, monkeypatch) -> None:
    said = "all lines: source and target look swapped, zh stands where en should"
    assert kinds(chinese(), "en", "zh")["swapped"][1] == said
    assert [*kinds(phrases, "de", "en")] == ["swapped"]
    left, right = chinese()
    half = (left[:700] + right[700:], right[:700] + left[700:])
    assert kinds(half, "zh", "en")["swapped"] == (
        (701, 1500),
        "from line 701 on: source and target look swapped, en stands where zh should",
    )
    monkeypatch.setattr(identify, "_classifier", absent)  # scripts and spelling are enough
    assert [*kinds(persian(), "en", "fa")] == ["swapped"]
    assert [*kinds(phrases, "de", "en")] == ["swapped"]
    french = [one.text("fr") for one in build(500, 10, 10, 1)["train"]]
    english = [one.en for one in build(500, 10, 10, 1)["train"]]
    assert [*kinds((french, english), "en", "fr")] == ["swapped"]
    assert [*kinds((french, english), "fr", "en")] == []
    assert [*kinds((french, english), "xx", "en")] == []  # a code that nobody knows


def test_another_language(phrases: Sides) -> None:
    french = [one.text("fr") for one in build(2000, 10, 10, 1)["train"]]
    (_, said) = kinds((phrases[0], french), "en", "de")["language"]
    assert said == "all lines: the target does not look like de but fr"
    (lines, said) = kinds((phrases[0], phrases[0]), "en", "de")["language"]
    assert said == "all lines: the target does not look like de but en"
    target = [*phrases[1][:900], *persian(500)[0], *phrases[1][1400:]]
    (lines, said) = kinds((phrases[0], target), "en", "de")["language"]
    assert lines == (901, 1400) and said.startswith("lines 901 to 1,400: the target does not")


def test_empty_copied_and_repeated_pairs() -> None:
    left, right = [f"a sentence {n}" for n in range(60)], [f"ein Satz {n}" for n in range(60)]
    left[3] = right[8] = ""
    assert kinds((left, right), "xx", "yy") == {
        "empty": ((4, 9), "2 pairs with an empty side (lines 4, 9), left out")
    }
    right[10:20] = left[10:20]
    (lines, said) = kinds((left, right), "xx", "yy")["copied"]
    assert lines == (11, 12, 13, 14, 15)
    assert said == "10 pairs with the same text on both sides (lines 11, 12, 13, 14, 15 ...)"
    (lines, said) = kinds((left * 2, right * 2), "xx", "yy")["duplicates"]
    assert lines == (1, 61) and said == "50% of the pairs came before, such as line 61 in line 1"


def test_memory_does_not_grow_and_repeated_pairs_are_still_seen(monkeypatch) -> None:
    monkeypatch.setattr("nmt_moe.corpus.suspicions._HELD", 200)
    peaks = []
    for number in (1000, 8000):
        pairs = (Pair(f"x {n // 2}", f"y {n // 2}", n + 1) for n in range(number))
        tracemalloc.start()
        [found] = [
            one for one in look(islice(pairs, number), "xx", "yy") if one.kind == "duplicates"
        ]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.message.startswith("50% of the pairs came before")
    assert peaks[1] < peaks[0] + 100_000
