"""The score of Wu et al. 2016 that chooses among finished translations, and searches that use it.

``score(X, Y) = log P(Y|X) / lp(Y) + cp(X;Y)``, where

- ``lp(Y) = (5 + |Y|)^alpha / 6^alpha``. ``|Y|`` counts the end of sentence, as ``log P`` does.
- ``cp(X;Y) = beta * sum_i log(min(sum_j p_ij, 1))``. ``p_ij`` is the attention on source position
  ``i`` at target step ``j``: every position but padding, the source's end too, and every step, that
  of the end too. A sum of 0, whose logarithm would make all such translations equal, counts as
  float32's smallest normal number, 1.2e-38.

fairseq's search compares unfinished translations by ``log P`` alone and ends for a sentence when as
many translations have ended as the beam is wide, whatever their scores. Its final scores only put
these in order. So the search stays fairseq's, and the score is computed once, afterwards.
"""

import math
from typing import Any

import torch
from fairseq.sequence_generator import SequenceGeneratorWithAlignment
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.tasks.fast_search import FastSearch


def length_penalty(lengths: Tensor, alpha: float) -> Tensor:
    """``lp(Y)`` of translations with so many pieces, the end of sentence among them; float64."""
    return ((5 + lengths.double()) / 6) ** alpha


def coverage_penalty(coverage_HS: Tensor, lengths_H: Tensor, beta: float) -> Tensor:
    """``cp(X;Y)`` of ``H`` translations.

    Args:
        coverage_HS: attention on each source position, summed over the target steps. It is 0 on
            padding, wherever that is: fairseq's LSTM has it on the other side than its input.
        lengths_H: source positions that are not padding.
        beta: the weight.

    Returns:
        ``[H]``, float64, at most 0.
    """
    smallest = torch.finfo(torch.float32).tiny
    unread_HS = coverage_HS < smallest
    log_HS = coverage_HS.double().clamp(max=1).log().masked_fill(unread_HS, 0)
    unread_H = unread_HS.sum(dim=1) - (coverage_HS.shape[1] - lengths_H)
    return beta * (log_HS.sum(dim=1) + unread_H * math.log(smallest))


class _GNMTScore:
    """Gives the translations that a generator of fairseq has found their score and order.

    Args:
        args: of the generator.
        gnmt_alpha: how much longer translations gain.
        gnmt_beta: how much translations lose that leave parts of the source unread.
        kwargs: of the generator.
    """

    pad: int

    def __init__(self, *args: Any, gnmt_alpha: float, gnmt_beta: float, **kwargs: Any) -> None:
        super().__init__(*args, **(kwargs | {"normalize_scores": False}))
        self.alpha = gnmt_alpha
        self.beta = gnmt_beta

    @torch.no_grad()
    def generate(self, models: Any, sample: dict, **kwargs: Any) -> list[list[dict[str, Tensor]]]:
        """Translate a batch.

        Returns:
            For each sentence the translations, best first. Beside fairseq's entries each has
            ``log_probability``, which was its ``score``.

        Raises:
            UserError: a coverage penalty is asked for, and the model shows no attention.
        """
        found = super().generate(models, sample, **kwargs)  # type: ignore[misc]
        flat = [translation for translations in found for translation in translations]
        log_probability_H = torch.stack([translation["score"] for translation in flat])
        lengths_H = torch.tensor([len(translation["tokens"]) for translation in flat])
        score_H = log_probability_H / length_penalty(
            lengths_H.to(log_probability_H.device), self.alpha
        )
        if self.beta > 0:
            score_H += self._coverage_penalty(sample["net_input"]["src_tokens"], found)
        scores_H = score_H.to(log_probability_H.dtype)
        for translation, score in zip(flat, scores_H, strict=True):
            translation |= {"score": score, "log_probability": translation["score"]}
        for translations in found:  # equal scores stay in the order of fairseq's search
            translations.sort(key=lambda translation: float(translation["score"]), reverse=True)
        return found

    def _coverage_penalty(self, source_BS: Tensor, found: list[list[dict[str, Tensor]]]) -> Tensor:
        attention = [translation["attention"] for group in found for translation in group]
        if not attention[0].numel():
            raise UserError(
                "this model shows no attention, which the coverage penalty needs: use --gnmt-beta 0"
            )
        coverage_HS = torch.stack([p_SL.sum(dim=1, dtype=torch.double) for p_SL in attention])
        counts_B = torch.tensor([len(group) for group in found], device=source_BS.device)
        lengths_H = source_BS.ne(self.pad).sum(dim=1).repeat_interleave(counts_B)
        return coverage_penalty(coverage_HS, lengths_H, self.beta)


class GNMTGenerator(_GNMTScore, FastSearch):
    """fairseq's beam search, with the score of GNMT."""


class GNMTGeneratorWithAlignment(_GNMTScore, SequenceGeneratorWithAlignment, FastSearch):
    """The same for ``--print-alignment``."""
