"""Which pieces translations may need: counted by hand, by a loop, and from file to file."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt_moe.common.errors import UserError
from nmt_moe.corpus import lexicon, shortlist
from nmt_moe.corpus.shortlist import Shortlist

SOURCE, TARGET = 6, 7
TEXT = st.lists(
    st.tuples(st.lists(st.integers(0, SOURCE - 1)), st.lists(st.integers(0, TARGET - 1))),
    max_size=12,
)


def learn(pairs, each: int, frequent: int, given_=((),) * SOURCE, common=()) -> Shortlist:
    source, target = lexicon.Sentences(), lexicon.Sentences()
    for one, other in pairs:
        source.add(one)
        target.add(other)
    return lexicon.learn(source, target, given_, TARGET, common, each, frequent)


def of(table: Shortlist, piece: int) -> list[int]:
    return table.pieces_N[table.first_S[piece] : table.first_S[piece + 1]].tolist()


def by_loops(pairs, rounds: int) -> tuple[list[dict[int, float]], list[int]]:
    """Shares of the target pieces for each source piece, and how often there are such."""
    text = [(set(one), set(other)) for one, other in pairs]
    counts = [sum(word in other for _, other in text) for word in range(TARGET)]
    shares: list[dict[int, float]] = []
    for piece in range(SOURCE):
        own = sum(piece in one for one, _ in text)
        both = {w: sum(piece in a and w in b for a, b in text) for w in range(TARGET)}
        shares.append({w: 2 * n / (own + counts[w]) for w, n in both.items() if n})
    for _ in range(rounds + 1):
        sums = [sum(share.values()) for share in shares]
        shares = [
            {w: x / total for w, x in share.items()}
            for share, total in zip(shares, sums, strict=True)
        ]
        old, shares = shares, [dict.fromkeys(share, 0.0) for share in shares]
        for one, other in text:
            for word in other:
                nothing = counts[word] / sum(counts)
                total = nothing + sum(old[piece].get(word, 0.0) for piece in one)
                for piece in one:
                    shares[piece][word] += old[piece][word] / total
    return old, counts


@given(pairs=TEXT, each=st.integers(1, 4), frequent=st.integers(0, 3), rounds=st.integers(0, 2))
def test_the_most_probable_are_those_of_a_loop(pairs, each, frequent, rounds) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexicon, "ROUNDS", rounds)
        patch.setattr(lexicon, "_TOGETHER", 2)
        table = learn(pairs, each, frequent)
    shares, counts = by_loops(pairs, rounds)
    for piece, share in enumerate(shares):
        found = of(table, piece)
        assert len(found) == min(each, len(share)) and set(found) <= share.keys()
        worst = min((share[word] for word in found), default=0)
        assert all(share[word] <= worst + 1e-5 for word in share.keys() - set(found))
    most = sorted(filter(None, counts), reverse=True)[:frequent]
    assert sorted((counts[w] for w in table.common_N), reverse=True) == most


def test_a_piece_that_another_one_explains_is_left_out() -> None:
    """Piece 1 is always beside piece 0, whose translation is 0."""
    pairs = [([0], [0])] * 20 + [([0, 1], [0, 1])] * 5
    assert [of(learn(pairs, 1, 0), piece) for piece in (0, 1)] == [[0], [1]]


def test_a_selection_is_for_all_sentences_of_a_batch() -> None:
    table = learn([([0, 1], [3]), ([2], [4, 5])], 2, 0, given_=[[6], *[[]] * 5], common=[1])
    assert table.select(np.array([[0, 2], [2, 2]])).tolist() == [1, 3, 4, 5, 6]
    assert table.select(np.array([1])).tolist() == [1, 3]
    assert table.select(np.array([5])).tolist() == [1]  # never seen
    for batch in product(range(SOURCE), repeat=2):
        whole = set(table.select(np.array(batch)).tolist())
        assert whole == {w for piece in batch for w in table.select(np.array([piece])).tolist()}


def test_no_text_gives_a_table_of_what_is_given() -> None:
    table = learn([], 3, 3, given_=[[n] for n in range(SOURCE)], common=[0])
    assert table.select(np.array([4])).tolist() == [0, 4]


def write(path: Path) -> Shortlist:
    table = learn([([0, 1], [3]), ([2], [4, 5])], 2, 1, common=[1])
    shortlist.write(path, table, ["a", "b"], ["c"])
    return table


def test_it_is_written_and_read(tmp_path: Path) -> None:
    table = write(tmp_path / "table")
    found = shortlist.read(tmp_path / "table", ["a", "b"], ["c"])
    for name in ("common_N", "first_S", "pieces_N"):
        assert np.array_equal(getattr(found, name), getattr(table, name))
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


def test_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table"
    with pytest.raises(UserError, match="--shortlist .*table: cannot be read: No such file"):
        shortlist.read(path, [], [])
    write(path)
    for side, symbols in {"source": (["a"], ["c"]), "target": (["a", "b"], ["d"])}.items():
        with pytest.raises(UserError, match=f"another vocabulary of the {side}.*learn one with"):
            shortlist.read(path, *symbols)
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[:-30], whole[:60] + whole[90:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="no table of 'nmt-moe model shortlist'"):
            shortlist.read(path, ["a", "b"], ["c"])
    np.savez(path.with_suffix(".npz"), other=np.zeros(3))
    with pytest.raises(UserError, match="is no table of"):
        shortlist.read(path.with_suffix(".npz"), ["a", "b"], ["c"])
