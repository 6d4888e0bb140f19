"""Learn from parallel text which target pieces go with a source piece."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nmt_moe.corpus.shortlist import Shortlist, ranges

ROUNDS = 1
"""Of learning, after the first counts; a second one finds nearly the same."""
_KEPT = 200  # pieces for a piece from round to round
_TOGETHER = 100_000  # sentences


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
    """Learn a table by IBM's model 1, in which the pieces of a source sentence share each piece of
    the translation.

    It begins with Dice's coefficient, twice the number of pairs of sentences with two pieces by
    the numbers of those with the one and with the other, and goes through the text ``ROUNDS``
    times more.

    Args:
        source: the sentences.
        target: their translations.
        given: of each source piece the target pieces that it has in any case.
        target_pieces: how many pieces the target dictionary has.
        common: target pieces for all sentences.
        each: how many target pieces are learned for a source piece, the most probable ones.
        frequent: how many of the most frequent target pieces are for all sentences.
        done: is called with numbers of source pieces that are done, in all ``1 + ROUNDS`` times
            each.
    """
    text = _Opposite(source, target, len(given))
    counts_S = np.bincount(source.pieces_N, minlength=len(given))
    counts_T = np.bincount(target.pieces_N, minlength=target_pieces)
    kept = max(each, _KEPT)
    rows: list[_Row] = []
    for piece, count in enumerate(counts_S):
        together_T = text.sums(piece, None, target_pieces)
        rows.append(_Row.of(2 * together_T / (count + counts_T).clip(1), kept))
        done(1)
    for _ in range(ROUNDS):
        # What stands for no piece of the source.
        total_N = (counts_T / max(counts_T.sum(), 1)).astype(np.float32)[text.pieces_N]
        for piece, row in enumerate(rows):
            share_T = row.dense(target_pieces)
            for places in text.places(piece):
                total_N[places] += share_T[text.pieces_N[places]]
        for piece, row in enumerate(rows):
            share_T = row.dense(target_pieces)
            found_T = text.sums(piece, total_N, target_pieces) * share_T
            rows[piece] = _Row.of(found_T, kept)
            done(1)
    found = [
        np.union1d(row.pieces_K[:each], np.array(always, np.int64))
        for row, always in zip(rows, given, strict=True)
    ]
    most_N = np.argsort(-counts_T, kind="stable")[:frequent]
    return Shortlist(
        np.union1d(most_N[counts_T[most_N] > 0], np.array(common, np.int64)).astype(np.int64),
        np.concatenate([[0], np.cumsum([len(one) for one in found])]).astype(np.int64),
        np.concatenate(found).astype(np.int64),
    )


@dataclass(frozen=True)
class _Row:
    """The most probable target pieces of a source piece, the best first, and their shares."""

    pieces_K: np.ndarray
    shares_K: np.ndarray

    @classmethod
    def of(cls, scores_T: np.ndarray, most: int) -> "_Row":
        pieces_N = np.flatnonzero(scores_T)
        best_K = pieces_N[np.argsort(-scores_T[pieces_N], kind="stable")[:most]]
        shares_K = scores_T[best_K] / max(scores_T[best_K].sum(), np.finfo(np.float64).tiny)
        return cls(best_K, shares_K.astype(np.float32))

    def dense(self, target_pieces: int) -> np.ndarray:
        share_T = np.zeros(target_pieces, np.float32)
        share_T[self.pieces_K] = self.shares_K
        return share_T


class _Opposite:
    """Where a source piece is: the places of the target's text in the sentences that have it."""

    def __init__(self, source: Sentences, target: Sentences, source_pieces: int) -> None:
        of_N = np.repeat(np.arange(len(source), dtype=np.int32), np.diff(source.first_L))
        # The sentences with piece 0, then those with piece 1, ...
        self._sentences_N = of_N[np.argsort(source.pieces_N, kind="stable")]
        counts_S = np.bincount(source.pieces_N, minlength=source_pieces)
        self._first_S = np.concatenate([[0], counts_S.cumsum()])
        self._begin_L, self._size_L = target.first_L[:-1], np.diff(target.first_L)
        self.pieces_N = target.pieces_N
        """The text of the target."""

    def places(self, piece: int) -> Iterator[np.ndarray]:
        """Places in ``pieces_N``, for some sentences at a time; none comes twice."""
        sentences_N = self._sentences_N[self._first_S[piece] : self._first_S[piece + 1]]
        for start in range(0, len(sentences_N), _TOGETHER):
            some_N = sentences_N[start : start + _TOGETHER]
            yield ranges(self._begin_L[some_N], self._size_L[some_N])

    def sums(self, piece: int, total_N: np.ndarray | None, target_pieces: int) -> np.ndarray:
        """For each target piece the number of its places, each divided by its total."""
        found_T = np.zeros(target_pieces)
        for places in self.places(piece):
            weights = None if total_N is None else 1 / total_N[places]
            found_T += np.bincount(self.pieces_N[places], weights, target_pieces)
        return found_T
