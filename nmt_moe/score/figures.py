"""All scores of a translation, each with its definition."""

import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nmt_moe.common.errors import UserError
from nmt_moe.common.lines import read_lines
from nmt_moe.score import perplexity, writing
from nmt_moe.score.bleu import measures


def figures(
    hypotheses: Path,
    reference: Path,
    target_lang: str,
    lowercase: bool = False,
    normalise: bool = False,
    against: Path | None = None,
    resamples: int = 1000,
    reference_scores: Path | None = None,
    title: str | None = None,
) -> dict[str, Any]:
    """All scores, by the names of ``--json``.

    Args:
        hypotheses: translations, detokenised, one per line.
        reference: translations by people, likewise.
        target_lang: the code of their language.
        lowercase: ignore case.
        normalise: normalise punctuation on both sides before text is tokenised.
        against: hypotheses of another system, to compare with.
        resamples: of that comparison, a paired bootstrap.
        reference_scores: the output of fairseq-generate on the reference, for its perplexity.
        title: what is scored; None: the file of the hypotheses.

    Raises:
        UserError: the files do not belong together.
    """
    logging.getLogger("sacrebleu").setLevel(logging.WARNING)  # else each step, as fairseq set it
    references = list(read_lines(reference))
    if not references:
        raise UserError(f"{reference} is empty: there is nothing to score")
    lines = _lines(hypotheses, reference, len(references))
    chosen = list(measures(target_lang, lowercase, normalise))
    if counts := [
        f"{name} in {number:,} of {len(references):,} lines"
        for name, number in writing.differences(lines, references)
    ]:
        print(
            f"warning: the same words of {hypotheses} and {reference} are written "
            f"{', '.join(counts)}: they count as different words",
            file=sys.stderr,
        )
    found = {
        "title": title or str(hypotheses),
        "hypotheses": str(hypotheses),
        "reference": str(reference),
        "sentences": len(references),
        "scores": [asdict(measure.score(lines, references)) for measure in chosen],
    }
    if reference_scores:
        found["perplexity"] = perplexity.read(reference_scores, references).as_dict()
    if against:
        other = _lines(against, reference, len(references))
        found["comparison"] = {
            "against": str(against),
            "resamples": resamples,
            "scores": [
                asdict(measure.compare(lines, other, references, resamples)) for measure in chosen
            ],
        }
    return found


def _lines(path: Path, reference: Path, number: int) -> list[str]:
    lines = list(read_lines(path))
    if len(lines) != number:
        raise UserError(
            f"{path} has {len(lines):,} lines but {reference} has {number:,}: line n of one must "
            "be the translation of what line n of the other is"
        )
    return lines


def table(found: dict[str, Any]) -> Iterator[str]:
    """The scores as lines of text."""
    yield f"{found['title']}, {found['sentences']:,} sentences"
    for score in found["scores"]:
        yield f"{_name(score)}: {score['score']:.2f}   {score['signature']}"
    ppl = found.get("perplexity")
    if ppl:
        yield (
            f"perplexity of the reference: {ppl['per_piece']:.2f} per wordpiece ({ppl['pieces']:,} "
            f"of this model's), {ppl['per_word']:.2f} per word ({ppl['words']:,}), ends of "
            "sentences included"
        )
    yield ""
    yield from dict.fromkeys(f"{score['text']}: {score['how']}" for score in found["scores"])
    comparison = found.get("comparison")
    if comparison:
        yield ""
        yield (
            f"against {comparison['against']}, paired bootstrap with {comparison['resamples']:,} "
            "resamples, 95% intervals:"
        )
        for score in comparison["scores"]:
            difference = score["score"] - score["against"]
            yield (
                f"{_name(score)}: {difference:+.2f}, p = {score['p_value']:.4f}; "
                f"{_with(score['score'], score['interval'])} here, "
                f"{_with(score['against'], score['against_interval'])} there"
            )


def _name(score: dict[str, Any]) -> str:
    return f"{score['name']}, {score['text']}"


def _with(score: float, interval: tuple[float, float]) -> str:
    return f"{score:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"
