"""Damaged files must not keep a reader busy: eight times the text takes eight times the time."""

import time
from collections.abc import Callable

import pytest

from nmt_moe.corpus import sgm
from nmt_moe.corpus.clean.rules import normalise
from nmt_moe.errors import UserError
from tests.tally import Tally

FEW, TIMES = 4_000, 8
BOUND = TIMES**1.5  # between TIMES of linear and TIMES**2 of quadratic work
# What comes before, what is repeated, and what comes after.
REPEATED = {
    "segments": ("", "<seg id='1'>x</seg>\n", ""),
    "segments without end": ("", "<seg>", ""),
    "segments never closed": ("", "<seg ", ""),
    "documents never closed": ("", "<doc ", ""),
    "ends never closed": ("", "</seg ", ""),
    "spaces in an end": ("<seg>x</seg", " ", ""),
    "brackets": ("<seg>", "<", "</seg>"),
    "numbers of characters without end": ("<seg>", "&#9", "</seg>"),
    "a number of a character": ("<seg>&#", "9", ";</seg>"),
    "a hexadecimal number": ("<seg>&#x", "f", ";</seg>"),
    "names of characters without end": ("<seg>", "&a", "</seg>"),
    "a name of a character": ("<seg>&", "a", ";</seg>"),
    "ampersands": ("<seg>", "&", "</seg>"),
    "entities": ("<seg>", "&amp;", "</seg>"),
    "line ends": ("<seg>", "\n ", "</seg>"),
    "spaces": ("<seg>", " ", "x</seg>"),
    "attributes": ("<seg", " id", ">x</seg>"),
    "attributes without value": ("<seg ", "id=", ">x</seg>"),
    "attributes in quotes without end": ("<seg ", "id='x\" ", ">x</seg>"),
    "spaces before a value": ("<doc docid", " ", "=a><seg>x</seg>"),
    "spaces for a value": ("<doc docid=", " ", "><seg>x</seg>"),
}


def segments(text: str) -> None:
    try:
        sgm.segments(text.encode(), "x.sgm")
    except UserError as error:
        assert "x.sgm" in str(error)


def seconds(read: Callable[[str], object], text: str) -> float:
    """The processor's time, when nothing else was in its way."""
    taken = []
    for _ in range(5):
        start = time.process_time()
        read(text)
        taken.append(time.process_time() - start)
    return min(taken)


@pytest.mark.parametrize("read", [segments, normalise])
@pytest.mark.parametrize("parts", REPEATED.values(), ids=REPEATED)
def test_linear(read: Callable[[str], object], parts: tuple[str, str, str], tally: Tally) -> None:
    before, repeated, after = parts
    texts = [before + repeated * number + after for number in (FEW, FEW * TIMES)]
    growth = float("inf")
    for _ in range(3):  # a machine may be busy once
        few, many = (seconds(read, text) for text in texts)
        growth = min(growth, many / max(few, 1e-5))
        if growth < BOUND:
            break
    assert growth < BOUND
    tally(inputs=2)
