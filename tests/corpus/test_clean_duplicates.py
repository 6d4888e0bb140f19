"""Repeated pairs by hashes on disk: against a set in memory, whatever the buckets hold."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt_moe.corpus.clean import duplicates
from nmt_moe.corpus.clean.duplicates import Duplicates, digest


def expected(hashes: list[int]) -> list[bool]:
    seen: set[int] = set()
    return [value in seen or bool(seen.add(value)) for value in hashes]


def found(folder: Path, parts: list[list[int]], bucket: int) -> list[bool]:
    known = Duplicates(folder, bucket)
    for part in parts:
        known.add(np.array(part, "<u8").tobytes())
    return list(chain.from_iterable(known.repeated()))


@settings(max_examples=40)
@given(
    # Few different ones, alike in their first bits or not.
    st.lists(st.lists(st.sampled_from([0, 1, 2, 64, 2**58, 2**63, 2**64 - 1])), max_size=8),
    st.integers(1, 4),
)
def test_repeated_are_those_that_came_before(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], bucket: int
) -> None:
    folder = tmp_path_factory.mktemp("hashes")
    assert found(folder, parts, bucket) == expected([*chain.from_iterable(parts)])


def test_many_pairs_in_several_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "WINDOW", 1000)
    monkeypatch.setattr(duplicates, "_HELD", 700)
    chance = np.random.default_rng(1)
    values = chance.integers(0, 2**64, 4000, np.uint64)
    hashes = values[chance.integers(0, 4000, 10_500)].tolist()
    parts = [hashes[start : start + 300] for start in range(0, len(hashes), 300)]
    held: list[int] = []
    fromfile = np.fromfile

    def load(path, kind, number=-1):
        records = fromfile(path, kind, number)
        if kind is duplicates._RECORD and number == -1:  # a bucket that is compared
            held.append(len(records))
        return records

    monkeypatch.setattr(np, "fromfile", load)
    assert found(tmp_path, parts, bucket=50) == expected(hashes)
    assert 0 < max(held) <= 50
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("repeated")]


def test_windows_have_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "WINDOW", 4)
    known = Duplicates(tmp_path)
    known.add(np.arange(10, dtype="<u8").tobytes())
    assert [len(flags) for flags in known.repeated()] == [4, 4, 2]


def test_the_digest_has_64_bits_of_the_whole_text() -> None:
    texts = ["a\nb", "a\nc", "b\na", "ab\n", "\nab"]
    assert {len(digest(text)) for text in texts} == {8}
    assert len({digest(text) for text in texts}) == len(texts)
