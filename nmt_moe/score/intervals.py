"""Scores of a text with their 95% intervals, and the scores of its lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU, TER
from sacrebleu.significance import estimate_ci

from nmt_moe.common.errors import UserError
from nmt_moe.common.languages import find
from nmt_moe.score.bleu import plain_metrics

SEED = 12345
"""sacrebleu's own, so that ``sacrebleu --confidence`` prints the same intervals."""
_SCRIPTS_OF_TER = ("Hans", "Hant", "Hani", "Jpan")
"""Scripts without spaces that TER can cut into characters."""


@dataclass(frozen=True)
class Scored:
    """A score of a text, from 0 to 100; of TER, which counts edits, less is better."""

    name: str
    """``BLEU``, ``chrF2`` or ``TER``."""
    value: float
    low: float
    """Of the 95% interval."""
    high: float
    signature: str
    lines: list[float]
    """The score of each line; BLEU's is of the orders that a short line has."""

    def as_dict(self) -> dict[str, Any]:
        """Without the lines."""
        found = {"value": self.value, "low": self.low, "high": self.high}
        return found | {"signature": self.signature}


def scored(
    hypotheses: Sequence[str], references: Sequence[str], code: str, resamples: int = 1000
) -> list[Scored]:
    """BLEU, chrF2 and TER of detokenised text, as sacrebleu computes them.

    TER is left out for scripts without spaces that it does not cut, such as Thai. Memory grows with
    the text, not with the number of samples.

    Args:
        hypotheses: the translations.
        references: of people, as many.
        code: of the target language, which decides how words are tokenised.
        resamples: of the bootstrap, from which the intervals are.

    Raises:
        UserError: there are no lines, or not as many references.
    """
    if not hypotheses or len(hypotheses) != len(references):
        raise UserError(
            f"{len(hypotheses):,} translations cannot be scored with {len(references):,} references"
        )
    return [_scored(metric, hypotheses, references, resamples) for metric in metrics(code)]


def metrics(code: str) -> list[Any]:
    """The metrics of sacrebleu for a target language."""
    found, known = plain_metrics(code), find(code)
    if known is None or known.spaced:
        return [*found, TER()]
    cut = TER(normalized=True, asian_support=True)
    return [*found, cut] if known.script in _SCRIPTS_OF_TER else found


def _scored(
    metric: Any, hypotheses: Sequence[str], references: Sequence[str], resamples: int
) -> Scored:
    """Counts each line once; sacrebleu's own bootstrap holds all of its samples at a time."""
    stats = metric._extract_corpus_statistics(hypotheses, [references])
    whole = metric._aggregate_and_compute(stats)
    stats_LF = np.array(stats, dtype=np.float32)
    rng, lines = np.random.default_rng(SEED), len(stats)
    samples = [
        metric._compute_score_from_stats(stats_LF[rng.choice(lines, lines)].sum(0)).score
        for _ in range(resamples)
    ]
    mean, half = map(float, estimate_ci(np.array(samples)))
    # Around the mean, as sacrebleu has it, but not beyond the scale.
    low, high = max(mean - half, 0.0), min(mean + half, max(100.0, *samples))
    metric.n_bootstrap, metric.seed = resamples, str(SEED)  # part of the signature
    signature = str(metric.get_signature())
    if isinstance(metric, BLEU):
        metric.effective_order = True
    return Scored(
        whole.name, whole.score, float(low), float(high), signature,
        [metric._aggregate_and_compute([line]).score for line in stats],
    )  # fmt: skip
