"""Learn from parallel text which target pieces go with a source piece."""

from array import array
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from nmt_moe.corpus.shortlist import Shortlist, ranges

_MOST = 20_000
"""Sentences that are looked at for one source piece; of more, evenly chosen ones."""


class Sentences:
    """The different pieces of each sentence of a text, int32, one sentence after the other."""

    def __init__(self) -> None:
        self._pieces, self._first = array("i"), array("q", [0])

    def __len__(self) -> int:
        return len(self._first) - 1

    def add(self, pieces: Iterable[int]) -> None:
        """Add a sentence."""
        self._pieces.extend(sorted(set(pieces)))
        self._first.append(len(self._pieces))

    @property
    def pieces_N(self) -> np.ndarray:
        """The pieces of all sentences."""
        return np.frombuffer(self._pieces, np.int32) if self._pieces else np.zeros(0, np.int32)

    @property
    def first_L(self) -> np.ndarray:
        """Where those of each sentence begin, and the end of the last; int64."""
        return np.frombuffer(self._first, np.int64)


def learn(
    source: Sentences,
    target: Sentences,
    given: Sequence[Sequence[int]],
    target_pieces: int,
    common: Sequence[int],
    each: int,
    frequent: int,
    done: Callable[[int], object] = lambda number: None,
) -> Shortlist:
    """Learn a table.

    Two pieces go together as Dice's coefficient says: twice the number of pairs of sentences with
    both, divided by the number with the one and the number with the other.

    Args:
        source: the sentences.
        target: their translations.
        given: of each source piece the target pieces that it has in any case.
        target_pieces: how many pieces the target dictionary has.
        common: target pieces for all sentences.
        each: how many target pieces are learned for a source piece.
        frequent: how many of the most frequent target pieces are for all sentences.
        done: is called with numbers of source pieces that are done.
    """
    sentences_N = np.repeat(np.arange(len(source), dtype=np.int32), np.diff(source.first_L))
    order_N = np.argsort(source.pieces_N, kind="stable")
    sentences_N = sentences_N[order_N]  # those with piece 0, then those with piece 1, ...
    counts_S = np.bincount(source.pieces_N, minlength=len(given))
    ends_S = counts_S.cumsum()
    counts_T = np.bincount(target.pieces_N, minlength=target_pieces)
    first_L, sizes_L, pieces_N = target.first_L, np.diff(target.first_L), target.pieces_N
    found: list[np.ndarray] = []
    for piece, (count, end, always) in enumerate(zip(counts_S, ends_S, given, strict=True)):
        with_N = sentences_N[end - count : end]
        if count > _MOST:
            with_N = with_N[np.linspace(0, count - 1, _MOST).astype(np.int64)]
        together_T = np.bincount(
            pieces_N[ranges(first_L[with_N], sizes_L[with_N])], minlength=target_pieces
        )
        best_N = np.flatnonzero(together_T)
        dice_N = together_T[best_N] * (count / max(len(with_N), 1)) / (count + counts_T[best_N])
        best_N = best_N[np.argsort(-dice_N, kind="stable")[:each]]
        found.append(np.union1d(best_N, np.array(always, np.int64)))
        if piece % 256 == 255:
            done(256)
    most_N = np.argsort(-counts_T, kind="stable")[:frequent]
    return Shortlist(
        np.union1d(most_N[counts_T[most_N] > 0], np.array(common, np.int64)).astype(np.int64),
        np.concatenate([[0], np.cumsum([len(one) for one in found])]).astype(np.int64),
        np.concatenate(found).astype(np.int64),
    )
