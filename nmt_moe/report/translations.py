"""Scored translations for the head of a report, from the file that ``--translations`` names."""

import json
from pathlib import Path
from typing import Any

from nmt_moe.common.errors import UserError

_SHOWN = 5
"""Of the best, of those in the middle and of the worst."""


def read(path: Path) -> dict[str, Any]:
    """Read the scores and choose the sentences to show.

    The file is JSON: ``{"scores": {NAME: {"value", "low", "high", "signature"}}, "sentences":
    [{"source", "reference", "hypothesis", "score"}]}``. ``low`` and ``high``, the ends of a 95%
    interval, may be null. ``sentence_score`` beside them is the name of the sentences' score.

    Returns:
        ``scores`` and ``sentence_score`` as in the file, ``count`` of all sentences, and lists of
        up to five, each source once: ``best``, ``middle`` and ``worst``, the last from its end.

    Raises:
        UserError: the file has another form, or no sentences.
        OSError: it cannot be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        scores = {name: _score(score) for name, score in found["scores"].items()}
        sentences = [_sentence(sentence) for sentence in found["sentences"]]
        name = str(found.get("sentence_score", "score"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        missing = f": it lacks {error}" if isinstance(error, KeyError) else ""
        raise UserError(
            f"{path} holds no scored translations in JSON{missing}; docs/report.md shows their form"
        ) from None
    if not sentences:
        raise UserError(f"{path} holds no sentences")
    return {"scores": scores, "sentence_score": name, "count": len(sentences), **_chosen(sentences)}


def _score(score: dict[str, Any]) -> dict[str, Any]:
    low, high = (None if score[end] is None else float(score[end]) for end in ("low", "high"))
    value, signature = float(score["value"]), str(score["signature"])
    return {"value": value, "low": low, "high": high, "signature": signature}


def _sentence(sentence: dict[str, Any]) -> dict[str, Any]:
    texts = {side: str(sentence[side]) for side in ("source", "reference", "hypothesis")}
    return texts | {"score": float(sentence["score"])}


def _chosen(sentences: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Of equal scores the longer sentences come first: they say more."""
    different = {sentence["source"]: sentence for sentence in reversed(sentences)}
    ranked = sorted(different.values(), key=lambda s: (-s["score"], -len(s["source"])))
    number = min(_SHOWN, max(1, len(ranked) // 3))
    best, rest = ranked[:number], ranked[number:]
    middle, worst = rest[:-number], rest[-number:]
    start = max(0, (len(middle) - number) // 2)
    return {"best": best, "middle": middle[start : start + number], "worst": worst[::-1]}
