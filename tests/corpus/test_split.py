"""Text is divided so that no sentence is in two sets, and stays divided when the text grows."""

import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt_moe.common.errors import UserError
from nmt_moe.corpus import split as module
from nmt_moe.corpus.sources import SPLITS, Source
from nmt_moe.corpus.sources.pair import Pair
from nmt_moe.corpus.split import repeats, split

Pairs = list[tuple[str, str]]
# A sentence is often there again, in another spelling, or on the other side.
SENTENCES = st.sampled_from(["", *"abcdefghijklmnopqrstuvwxyz", "A", "b.", "c !", "ｄ", "é", "É"])
PAIRS = st.lists(st.tuples(SENTENCES, SENTENCES), max_size=60)


def text(folder: Path, name: str, pairs: Pairs, kind: str = "train") -> Source:
    folder.mkdir(exist_ok=True)
    files = (folder / f"{name}.xx", folder / f"{name}.yy")
    for side, path in enumerate(files):
        path.write_text("".join(f"{pair[side]}\n" for pair in pairs), encoding="utf-8")
    return Source(name, kind, files)  # type: ignore[arg-type]


def divided(folder: Path, sources: list[Source], **how) -> tuple[dict[str, Pairs], dict]:
    counts = split(sources, folder / "out", "xx", "yy", **how)
    sides = {
        name: [
            (folder / "out" / f"{name}.{side}").read_text(encoding="utf-8").splitlines()
            for side in ("xx", "yy")
        ]
        for name in SPLITS
    }
    return {name: list(zip(*both, strict=True)) for name, both in sides.items()}, counts


def sentences(pairs: Pairs) -> set[str]:
    same = {"A": "a", "b.": "b", "c !": "c", "ｄ": "d", "É": "é"}
    return {same.get(side, side) for pair in pairs for side in pair}


@given(
    old=st.lists(PAIRS, min_size=1, max_size=2),
    new=PAIRS,
    valid=st.none() | PAIRS,
    test=st.none() | PAIRS,
    seed=st.integers(0, 99),
)
def test_no_sentence_is_in_two_sets_and_growing_changes_nothing(
    tmp_path_factory, old: list[Pairs], new: Pairs, valid: Pairs | None, test: Pairs | None, seed
) -> None:
    folder = tmp_path_factory.mktemp("split")
    fixed = [
        text(folder, name, pairs, name)
        for name, pairs in (("valid", valid), ("test", test))
        if pairs is not None
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SHARES", ((60, 0.3),))
        patch.setattr(module, "_check", lambda counts, given: None)  # sets may be empty
        sources = [*fixed, *(text(folder, f"{n}", pairs) for n, pairs in enumerate(old))]
        sets, counts = divided(folder, sources, seed=seed)
        for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
            assert not sentences(sets[one]) & sentences(sets[other])
        total = sum(counts.values(), Counter())
        given_pairs = [pair for pairs in (valid or [], test or [], *old) for pair in pairs]
        assert total["read"] == len(given_pairs)
        assert total["empty"] == sum(not all(pair) for pair in given_pairs)
        assert sum(total[name] for name in (*SPLITS, "empty", "shared")) == total["read"]
        if test is not None:
            assert sets["test"] == [pair for pair in test if all(pair)]
        if valid is not None:
            taken = sentences(sets["test"])
            assert sets["valid"] == [p for p in valid if all(p) and not sentences([p]) & taken]

        # Of the last source, and of all where it is the only one.
        grown = text(folder, f"{len(old) - 1}", [*old[-1], *new])
        after, _ = divided(folder, [*sources[:-1], grown], seed=seed)
        for name in SPLITS:
            assert after[name][: len(sets[name])] == sets[name]


def many(number: int) -> Pairs:
    return [(f"this is {n}", f"das ist Nummer {n}") for n in range(number)]


@pytest.mark.parametrize(("pairs", "low", "high"), [(1000, 30, 70), (30_000, 320, 440)])
def test_sizes(tmp_path: Path, pairs: int, low: int, high: int) -> None:
    sets, counts = divided(tmp_path, [text(tmp_path, "a", many(pairs))])
    assert {*sets["train"], *sets["valid"], *sets["test"]} == {*many(pairs)}
    assert low < len(sets["valid"]) < high and low < len(sets["test"]) < high
    assert {name: len(found) for name, found in sets.items()} | {"read": pairs} == {
        name: number for name, number in counts["a"].items() if number
    }
    other, _ = divided(tmp_path, [text(tmp_path, "a", many(pairs))], seed=2)
    assert other["test"] != sets["test"]


def test_large_texts_have_sets_that_are_not_much_larger() -> None:
    places = [*range(250_000), *range(250_000, 5_000_000, 1000)]
    shares = [module._share(place) * (1 if place < 250_000 else 1000) for place in places]
    assert sum(shares[:250_000]) == pytest.approx(50 + 80 + 2450)
    assert 3900 < sum(shares) < 4500


def test_a_text_is_repeated_for_training_alone(tmp_path: Path) -> None:
    sources = [text(tmp_path, "a", many(500)), text(tmp_path, "b", [("once", "einmal")])]
    once, counts = divided(tmp_path, sources)
    again, same = divided(tmp_path, sources, repeat=repeats(["a.yy=3"], sources))
    assert counts == same
    assert again["test"] == once["test"] and again["valid"] == once["valid"]
    assert Counter(again["train"]) == {pair: 1 + 2 * (pair[0] != "once") for pair in once["train"]}
    for wrong in ("a=0", "a", "a=x"):
        with pytest.raises(UserError, match=f"--upsample {wrong}: give a file and how often"):
            repeats([wrong], sources)
    with pytest.raises(UserError, match="there is no one text c: choose from a, b"):
        repeats(["c=2"], sources)


def test_what_another_model_was_tested_with_is_for_testing_alone(tmp_path: Path) -> None:
    """Its own text, given again and grown, is divided as before; other text goes without these."""
    first, _ = divided(tmp_path, [text(tmp_path, "a", many(300))])
    tested = [Pair(*pair, 0) for pair in first["test"]]
    grown = [*many(300), ("this is new", "das ist neu"), ("once more", tested[0].target)]
    again, counts = divided(tmp_path, [text(tmp_path, "a", grown)], tested=tested)
    assert again["test"] == first["test"] and again["valid"] == first["valid"]
    assert again["train"] == [*first["train"], ("this is new", "das ist neu")]
    assert counts["a"]["shared"] == 1
    others = [*many(200)[::-1], *many(300)]  # other places
    moved, _ = divided(tmp_path, [text(tmp_path, "b", others)], tested=tested)
    assert not sentences(first["test"]) & sentences(moved["train"] + moved["valid"])
    assert len(moved["test"]) == len({*moved["test"]})
    fixed = [text(tmp_path, "t", [("a", "b")], "test"), text(tmp_path, "c", many(300))]
    both, _ = divided(tmp_path, fixed, tested=tested)
    assert both["test"] == [("a", "b")]
    assert not sentences(first["test"]) & sentences(both["train"] + both["valid"])


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ({"train": []}, "train: there is no pair of sentences"),
        ({"train": [("one", "")]}, "train: there is no pair of sentences"),
        ({"train": [("one", "eins")]}, "train: 1 pair is too few to choose a valid set from"),
        ({"train": many(9), "test": []}, "no pair of sentences is left for test: none is given"),
        ({"train": many(9), "test": many(9), "valid": [("one", "eins")]},
         "is left for training: all have a sentence of another set"),
        ({"test": many(9), "valid": [("one", "eins")]}, "is left for training: none is given"),
    ],
)  # fmt: skip
def test_an_empty_set_is_one_line_and_nothing_is_written(tmp_path: Path, kinds, said) -> None:
    sources = [text(tmp_path, kind, pairs, kind) for kind, pairs in kinds.items()]
    with pytest.raises(UserError, match=said):
        divided(tmp_path, sources)
    assert not list((tmp_path / "out").iterdir())


def test_memory_does_not_grow(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "_SHARES", ((1000, 0.05),))  # the hashes of the sets are held
    monkeypatch.setattr(module, "_THEN", 10)
    peaks = []
    for number in (2000, 10_000):
        source = text(tmp_path, "a", many(number))
        tracemalloc.start()
        divided_counts = split([source], tmp_path / "out", "xx", "yy")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert divided_counts["a"]["read"] == number
    assert peaks[1] < peaks[0] + 50_000
