"""The hypotheses of a beam search, as fairseq chooses them, in few operations.

fairseq's loop keeps them on the device of the model and moves all that it knows of each in every
step. Here they are on the CPU; of the attention only rows' numbers move, and its rows are collected
at the end.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Ended:
    """A hypothesis that has ended."""

    tokens_L: np.ndarray
    """The end of sentence among them."""
    score: np.float32
    log_probability_L: np.ndarray
    row_L: np.ndarray
    """For each step the row of its attention, counted over the rows of all steps."""


@dataclass(frozen=True)
class Step:
    """What the model must do before the next step."""

    order_R: np.ndarray
    """The row of the step before that each row goes on from."""
    rows_before: int
    """How many rows that step had."""
    sentences_B: np.ndarray | None
    """The sentences that stay, where others are finished."""


@dataclass
class Beam:
    """A batch of sentences and their hypotheses; each begins with one, the start of sentence.

    A row is a hypothesis that goes on. From the first step on each unfinished sentence has
    ``width`` rows, side by side.

    Args:
        sentences: how many.
        width: hypotheses of a sentence, and of its result.
        longest: pieces of a hypothesis, without the end.
        words: pieces that the model chooses from.
        start: the token that hypotheses begin with.
        pad: what stands after them.
        end: the token that ends them.
        length_penalty: scores are divided by the length to this power.
    """

    sentences: int
    width: int
    longest: int
    words: int
    start: int
    pad: int
    end: int
    length_penalty: float = 0.0
    ended: list[list[Ended]] = field(init=False)
    """Of each sentence, in the order of the search."""
    tokens_RL: np.ndarray = field(init=False)
    """Each row begins with the start of sentence; its first ``step + 1`` are known."""

    def __post_init__(self) -> None:
        sentences, longest = self.sentences, self.longest
        self.ended = [[] for _ in range(sentences)]
        self.tokens_RL = np.full((sentences, longest + 2), self.pad, np.int64)
        self.tokens_RL[:, 0] = self.start
        self._sum_RL = np.zeros((sentences, longest + 1), np.float32)  # of log probabilities
        self._row_RL = np.zeros((sentences, longest + 1), np.int64)
        self._rows = 0  # of all steps before
        self._number_B = np.arange(sentences)  # of the unfinished sentences
        self._idle_BW = np.zeros((sentences, self.width), bool)  # without a hypothesis

    def advance(self, step: int, log_p_RK: np.ndarray, word_RK: np.ndarray) -> Step | None:
        """Choose the hypotheses of the next step.

        Args:
            step: from 0 on.
            log_p_RK: of each row the log probabilities of its best next words, float32.
            word_RK: these words, at least twice the width, or all of them.

        Returns:
            How to go on; None: all sentences are finished.

        Raises:
            ValueError: no word can follow, as the probabilities are not finite.
        """
        width, end = self.width, self.end
        sentences = len(self._number_B)
        rows = len(log_p_RK) // sentences  # of a sentence
        self._row_RL[:, step] = np.arange(self._rows, self._rows + len(log_p_RK))
        self._rows += len(log_p_RK)
        score_BC, row_BC, word_BC = self._candidates(step, log_p_RK, word_RK, rows)

        ends_BC = (word_BC == end) & (score_BC != -np.inf)
        ends_BC[:, :width] &= ~self._idle_BW[:, : ends_BC.shape[1]]
        finished_B = np.zeros(sentences, bool)
        if ends_BC[:, :width].any():
            place_H, column_H = ends_BC[:, :width].nonzero()
            self._end(step, place_H, row_BC[place_H, column_H], score_BC[place_H, column_H])
            full_B = np.array([len(self.ended[number]) == width for number in self._number_B])
            new_B = np.zeros(sentences, bool)
            new_B[place_H] = True
            finished_B = new_B & (full_B | (step == self.longest))
        if finished_B.all():
            return None
        if step == self.longest:
            raise ValueError("a sentence has no end")
        return self._go_on(step, score_BC, row_BC, word_BC, ends_BC, finished_B)

    def _candidates(
        self, step: int, log_p_RK: np.ndarray, word_RK: np.ndarray, rows: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each sentence the best extensions: their scores, rows and words, ``[B, C]``."""
        score_RK = log_p_RK + self._sum_RL[:, step - 1 : step] if step else log_p_RK
        sentences, of_row = len(self._number_B), word_RK.shape[1]
        score_BA = score_RK.reshape(sentences, rows * of_row)
        number = min(2 * self.width, rows * self.words - 1, rows * of_row)
        place_BC = np.argsort(-score_BA, axis=1, kind="stable")[:, :number]
        first_B1 = np.arange(sentences)[:, None]
        row_BC = place_BC // of_row + first_B1 * rows
        word_BC = word_RK.reshape(sentences, -1)[first_B1, place_BC]
        return score_BA[first_B1, place_BC], row_BC, word_BC

    def _end(self, step: int, place_H: np.ndarray, row_H: np.ndarray, sum_H: np.ndarray) -> None:
        """End hypotheses of these sentences, of those that are unfinished, in this order."""
        tokens_HL = self.tokens_RL[row_H, 1 : step + 2]
        tokens_HL[:, step] = self.end
        log_p_HL = self._sum_RL[row_H, : step + 1]
        log_p_HL[:, step] = sum_H
        log_p_HL[:, 1:] -= log_p_HL[:, :-1].copy()
        rows_HL = self._row_RL[row_H, : step + 1]
        score_H = sum_H / np.float32((step + 1) ** self.length_penalty)
        for n, number in enumerate(self._number_B[place_H].tolist()):
            if len(self.ended[number]) < self.width:
                found = Ended(tokens_HL[n], score_H[n], log_p_HL[n], rows_HL[n])
                self.ended[number].append(found)

    def _go_on(
        self,
        step: int,
        score_BC: np.ndarray,
        row_BC: np.ndarray,
        word_BC: np.ndarray,
        ends_BC: np.ndarray,
        finished_B: np.ndarray,
    ) -> Step:
        """Take the best candidates that have not ended of each sentence that is not finished."""
        width, stay_B = self.width, None
        if finished_B.any():
            stay_B = np.flatnonzero(~finished_B)
            score_BC, row_BC, word_BC, ends_BC = (
                x[stay_B] for x in (score_BC, row_BC, word_BC, ends_BC)
            )
            self._number_B, self._idle_BW = self._number_B[stay_B], self._idle_BW[stay_B]
        # As fairseq: the place of a hypothesis that has ended once stays without one.
        ends_BC[:, :width] |= self._idle_BW
        first_B1 = np.arange(len(score_BC))[:, None]
        chosen_BW = np.argsort(ends_BC, axis=1, kind="stable")[:, :width]
        self._idle_BW = ends_BC[first_B1, chosen_BW]
        if self._idle_BW.all(axis=1).any():
            raise ValueError("a sentence has no hypothesis to go on with")
        order_R, rows_before = row_BC[first_B1, chosen_BW].ravel(), len(self.tokens_RL)
        if len(order_R) != rows_before:
            self.tokens_RL = self.tokens_RL[order_R]
            self._sum_RL, self._row_RL = self._sum_RL[order_R], self._row_RL[order_R]
        else:
            for x_RL in (self.tokens_RL, self._sum_RL, self._row_RL):
                x_RL[:, : step + 1] = x_RL[order_R, : step + 1]
        self.tokens_RL[:, step + 1] = word_BC[first_B1, chosen_BW].ravel()
        self._sum_RL[:, step] = score_BC[first_B1, chosen_BW].ravel()
        return Step(order_R, rows_before, stay_B)
