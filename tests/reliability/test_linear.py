"""Damaged files must not keep a reader busy: eight times the text takes eight times the time."""

import resource
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.corpus import sgm
from nmt_moe.corpus.clean.rules import normalise
from tests.reliability.children import in_a_child
from tests.tally import Tally

FEW, TIMES = 4_000, 8
LIMIT = 20  # seconds of the processor for all measurements of one reader and text
BOUND = TIMES**1.5  # between TIMES of linear and TIMES**2 of quadratic work
# What comes before, what is repeated, and what comes after.
REPEATED = {
    "segments": ("", "<seg id='1'>x</seg>\n", ""),
    "segments without end": ("", "<seg>", ""),
    "segments never closed": ("", "<seg ", ""),
    "documents never closed": ("", "<doc ", ""),
    "a segment never closed": ("<seg", " id", ""),
    "spaces in a segment never closed": ("<seg", " ", ""),
    "a document never closed": ("<doc", " id", ""),
    "spaces in a document never closed": ("<doc", " ", ""),
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
    """The processor's time, when nothing else was in its way.

    Of the thread: under a limit Linux counts that of the process in its ticks only.
    """
    taken = []
    for _ in range(5):
        start = time.thread_time()
        read(text)
        taken.append(time.thread_time() - start)
    return min(taken)


def grows(read: Callable[[str], object], texts: tuple[str, str]) -> int:
    """Print how many times as long the longer text takes; 1 where that is too long."""
    growth = float("inf")
    for _ in range(3):  # a machine may be busy once
        few, many = (seconds(read, text) for text in texts)
        growth = min(growth, many / max(few, 1e-5))
        if growth < BOUND:
            break
    print(f"{growth:.1f} times as long: {few:.4f} and {many:.4f} s")
    return int(growth >= BOUND)


def limit() -> None:
    """End this process with SIGXCPU, as a search in a text listens to no other signal."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + LIMIT
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))


@pytest.mark.parametrize("read", [segments, normalise])
@pytest.mark.parametrize("parts", REPEATED.values(), ids=REPEATED)
def test_linear(
    read: Callable[[str], object], parts: tuple[str, str, str], tmp_path: Path, tally: Tally
) -> None:
    before, repeated, after = parts
    texts = tuple(before + repeated * number + after for number in (FEW, FEW * TIMES))
    finished = in_a_child(partial(grows, read, texts), tmp_path, limit)
    assert finished.code != -signal.SIGXCPU, f"takes more than {LIMIT} s of the processor"
    assert finished.code == 0, finished.stdout + finished.stderr
    tally(inputs=2)
