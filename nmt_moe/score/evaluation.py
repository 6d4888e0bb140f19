"""What the scores of a text are for: a report, a model's card, a comparison with another system."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from nmt_moe.score.bleu import Measure
from nmt_moe.score.intervals import Scored, metrics

SENTENCE_SCORE = "chrF2"
"""Orders sentences: BLEU of a single sentence is 0 too often to tell sentences apart."""

_WORST = 10


def content(
    found: Sequence[Scored],
    sources: Sequence[str],
    references: Sequence[str],
    hypotheses: Sequence[str],
) -> dict[str, Any]:
    """What a report begins with.

    Returns:
        ``scores`` by name, each with ``value``, ``low``, ``high`` and ``signature``;
        ``sentence_score``, the name of the sentences' score; and ``sentences`` in their order,
        each with ``source``, ``reference``, ``hypothesis`` and ``score``.
    """
    of_lines = next(score.lines for score in found if score.name == SENTENCE_SCORE)
    sides = zip(sources, references, hypotheses, of_lines, strict=True)
    names = ("source", "reference", "hypothesis", "score")
    return {
        "scores": {score.name: score.as_dict() for score in found},
        "sentence_score": SENTENCE_SCORE,
        "sentences": [dict(zip(names, side, strict=True)) for side in sides],
    }


def for_card(content: dict[str, Any], direction: Sequence[str], text: str) -> dict[str, Any]:
    """The entry of a text among a model's ``scores``, see :func:`nmt_moe.trained.folder.write`.

    Args:
        content: from :func:`content`.
        direction: source and target language.
        text: the name of the text.
    """
    different = {sentence["source"]: sentence for sentence in content["sentences"]}
    return {
        "direction": [*direction],
        "text": text,
        "sentences": len(content["sentences"]),
        "scores": content["scores"],
        "worst": sorted(different.values(), key=lambda one: one["score"])[:_WORST],
    }


def lines(found: Sequence[Scored], *texts: Sequence[str]) -> Iterator[str]:
    """A table with tabs: for each line its number, scores, source, reference and translation."""
    yield "\t".join(["line", *(one.name for one in found), "source", "reference", "translation"])
    rows = zip(*texts, *(one.lines for one in found), strict=True)
    for number, row in enumerate(rows, start=1):
        scores = [f"{score:.2f}" for score in row[len(texts) :]]
        yield "\t".join([str(number), *scores, *row[: len(texts)]])


def compare(
    hypotheses: Sequence[str],
    against: Sequence[str],
    references: Sequence[str],
    code: str,
    resamples: int = 1000,
) -> list[dict[str, Any]]:
    """Compare with another system by paired bootstrap: for each metric the fields of
    :class:`~nmt_moe.score.bleu.Comparison`."""
    logging.getLogger("sacrebleu").setLevel(logging.WARNING)  # else each step, as fairseq set it
    measures = (Measure("detokenised", "", str, metric) for metric in metrics(code))
    return [asdict(one.compare(hypotheses, against, references, resamples)) for one in measures]


def compared(against: str, found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The comparison with another system as lines of text."""
    yield f"against {against}, paired bootstrap:"
    for one in found:
        low, high = one["against_interval"]
        yield (
            f"{one['name']:5} {one['score'] - one['against']:+6.2f}, p = {one['p_value']:.4f}; "
            f"{one['against']:.2f} ({low:.2f} to {high:.2f}) there"
        )
