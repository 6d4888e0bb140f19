"""Text cut anew by sampling: subword regularisation, and BPE-dropout for BPE models.

A unigram model (Kudo 2018) draws one of all ways to cut a word, each in proportion to the power
alpha of its probability; a BPE model (Provilkov et al. 2020) leaves out each merge with probability
alpha. sentencepiece does the same, but what it draws for a seed differs from process to process.
"""

import heapq
import math
import re
from bisect import bisect
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from random import Random

from sentencepiece import sentencepiece_model_pb2

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.wordpieces.model import load
from nmt_moe.corpus.wordpieces.reversible import WORD

_UNIGRAM, _BPE, _NORMAL = 1, 2, 1  # kinds of models and of pieces in sentencepiece's files
_WORDS = re.compile(f"{WORD}[^{WORD}]*|[^{WORD}]+")
_KEPT = 200_000  # words whose cuts are kept
Ends = list[tuple[list[float], list[int]]]
"""For each place of a word, after the first: the sums of the probabilities that the last piece
before it begins at one place or those listed before it, and these places."""


class Sampler:
    """Cuts text by sampling.

    Args:
        path: a sentencepiece model.
        alpha: of a unigram model the exponent, where 1 is the model's own distribution, and less
            comes closer to all cuts alike; of a BPE model the probability to leave out a merge.

    Raises:
        UserError: the file is no model, or one that cannot sample.
    """

    def __init__(self, path: Path, alpha: float) -> None:
        self.path, self.alpha = path, alpha
        proto = load(path).serialized_model_proto()
        model = sentencepiece_model_pb2.ModelProto.FromString(proto)  # type: ignore[attr-defined]
        kind = model.trainer_spec.model_type
        if kind not in (_UNIGRAM, _BPE):
            raise UserError(f"{path} cuts words or characters in one way: it cannot sample others")
        if kind == _BPE and alpha > 1:
            raise UserError(
                f"{path} is a BPE model, whose merges are left out with probability {alpha:g}: "
                "give --sample-wordpieces of at most 1"
            )
        self.bpe = kind == _BPE
        self.scores = {x.piece: x.score for x in model.pieces if x.type == _NORMAL}
        """Of the pieces that stand for text; bytes and symbols are never cut or drawn."""
        self.others = {x.piece for x in model.pieces} - self.scores.keys()
        self._longest = max(map(len, self.scores))
        self._by_words = not any(WORD in piece[1:] for piece in self.scores)
        self._ends = lru_cache(_KEPT)(self._ends_of)

    def __reduce__(self) -> tuple:
        return Sampler, (self.path, self.alpha)

    def cut(self, text: str, chance: Random) -> list[str]:
        """Cut a text, of which the model has pieces, as it stands in them, with marks of words."""
        one = self._merged if self.bpe else self._drawn
        words = _WORDS.findall(text) if self._by_words else [text]
        return [piece for word in words for piece in one(word, chance)]

    def _drawn(self, word: str, chance: Random) -> list[str]:
        """Of a unigram model: draw the last piece, then the one before it, and so on."""
        ends, end, found = self._ends(word), len(word), []
        while end:
            sums, starts = ends[end - 1]
            start = starts[min(bisect(sums, chance.random() * sums[-1]), len(starts) - 1)]
            found.append(word[start:end])
            end = start
        return found[::-1]

    def _ends_of(self, word: str) -> Ends:
        totals, found = [0.0], []  # the logarithm of the sum over all cuts up to a place
        for end in range(1, len(word) + 1):
            logs, starts = [], []
            for start in range(max(0, end - self._longest), end):
                score = self.scores.get(word[start:end])
                if score is not None and totals[start] != -math.inf:
                    logs.append(totals[start] + self.alpha * score)
                    starts.append(start)
            most = max(logs, default=-math.inf)
            sums = list(accumulate(math.exp(x - most) for x in logs))
            totals.append(most + math.log(sums[-1]) if sums else most)
            found.append((sums, starts))
        return found

    def _merged(self, word: str, chance: Random) -> list[str]:
        """Of a BPE model: the best merges first, each of which may be left out once and for all."""
        pieces: list[str] = list(word)
        before = list(range(-1, len(word) - 1))
        after = [*range(1, len(word)), -1]
        agenda: list[tuple[float, int, int, str]] = []

        def consider(left: int, right: int) -> None:
            if left >= 0 and right >= 0:
                both = pieces[left] + pieces[right]
                if both in self.scores:
                    heapq.heappush(agenda, (-self.scores[both], left, right, both))

        for right in range(1, len(word)):
            consider(right - 1, right)
        while agenda:
            _, left, right, both = heapq.heappop(agenda)
            there = pieces[left] and pieces[right] and pieces[left] + pieces[right] == both
            if not there or chance.random() < self.alpha:
                continue
            pieces[left], pieces[right] = both, ""
            after[left] = after[right]
            if after[right] >= 0:
                before[after[right]] = left
            consider(before[left], left)
            consider(left, after[left])
        return [piece for piece in pieces if piece]
