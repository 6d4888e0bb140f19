"""The contexts in which an expert has its highest gates, as in the paper's table 9."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmt_moe.report.experts.counting import Ints, place_in_group
from nmt_moe.report.experts.text import Spelling

AROUND = 6  # pieces shown on each side of the token
_NONE = -np.inf  # the gate of a place that is free
_DIGITS = 6  # of a gate: those that differ by less, as between batches, are equal


class TopContexts:
    """Keeps for each expert the ``N`` contexts with the highest gates, from ``N`` different lines.

    Among equal gates the earlier lines win, so the result does not depend on the order of batches.

    Args:
        experts: the number of experts.
        size: ``N``.
        pad: the index of the padding symbol.
    """

    def __init__(self, experts: int, size: int, pad: int) -> None:
        self._pad = pad
        self._gate_EN = np.full((experts, size), _NONE)
        self._line_EN = np.full((experts, size), np.iinfo(np.int64).max)
        self._tokens_ENW = np.full((experts, size, 2 * AROUND + 1), pad, np.int32)

    def add(
        self,
        expert_A: Ints,
        gate_A: NDArray[np.float64],
        sentence_A: Ints,
        position_A: Ints,
        line_B: Ints,
        tokens_BL: Ints,
    ) -> None:
        """Add the assignments of a batch; a line must not be in two batches.

        Args:
            expert_A: the expert of each assignment.
            gate_A: its gate.
            sentence_A: the sentence of its token in the batch.
            position_A: the position of the token in the sentence.
            line_B: the number of each sentence's line.
            tokens_BL: the tokens, padded on the right.
        """
        gate_A = gate_A.round(_DIGITS)
        line_A = line_B[sentence_A]
        last_gate_A = self._gate_EN[expert_A, -1]
        better_A = gate_A > last_gate_A
        better_A |= (gate_A == last_gate_A) & (line_A < self._line_EN[expert_A, -1])
        chosen = np.flatnonzero(better_A)
        if not len(chosen):
            return
        expert, gate, line = expert_A[chosen], gate_A[chosen], line_A[chosen]
        # Of each line the token with the highest gate, the first of equals.
        order = np.lexsort((position_A[chosen], -gate, line, expert))
        new = np.diff(expert[order], prepend=-1) != 0
        new |= np.diff(line[order], prepend=-1) != 0
        best = order[new]
        at = chosen[best]
        padded_BL = np.pad(tokens_BL, ((0, 0), (AROUND, AROUND)), constant_values=self._pad)
        window = np.arange(2 * AROUND + 1)
        tokens = padded_BL[sentence_A[at, None], position_A[at, None] + window]
        self._insert(expert[best], gate[best], line[best], tokens)

    def _insert(
        self, expert_C: Ints, gate_C: NDArray[np.float64], line_C: Ints, tokens_CW: Ints
    ) -> None:
        touched = np.unique(expert_C)
        size = self._gate_EN.shape[1]
        expert = np.concatenate([np.repeat(touched, size), expert_C])
        gate = np.concatenate([self._gate_EN[touched].reshape(-1), gate_C])
        line = np.concatenate([self._line_EN[touched].reshape(-1), line_C])
        kept = self._tokens_ENW[touched].reshape(-1, tokens_CW.shape[1])
        tokens = np.concatenate([kept, tokens_CW.astype(np.int32)])
        order = np.lexsort((line, -gate, expert))
        place = place_in_group(expert[order])
        order, place = order[place < size], place[place < size]
        where = (expert[order], place)
        self._gate_EN[where], self._line_EN[where] = gate[order], line[order]
        self._tokens_ENW[where] = tokens[order]

    def content(self, spelling: Spelling) -> list[list[dict[str, Any]]]:
        """The contexts of each expert, the highest gate first."""
        return [
            [
                _context(gate, tokens_W[tokens_W != self._pad], self._middle(tokens_W), spelling)
                for gate, tokens_W in zip(gate_N, tokens_NW, strict=True)
                if gate > _NONE
            ]
            for gate_N, tokens_NW in zip(self._gate_EN, self._tokens_ENW, strict=True)
        ]

    def _middle(self, tokens_W: NDArray[np.int32]) -> int:
        """The place of the token without the padding before it."""
        return int((tokens_W[:AROUND] != self._pad).sum())


def _context(
    gate: float, tokens: NDArray[np.int32], middle: int, spelling: Spelling
) -> dict[str, Any]:
    pieces = spelling.pieces(tokens)
    return {
        "gate": float(gate),
        "before": spelling.text(pieces[:middle]).lstrip(),
        "token": pieces[middle],
        "after": spelling.text(pieces[middle + 1 :]).rstrip(),
    }
