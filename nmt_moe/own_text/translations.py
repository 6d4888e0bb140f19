"""The file of scored translations, which the report page and the model's card begin with."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nmt_moe.common.files import atomic_write
from nmt_moe.score.intervals import scored

_OF_SENTENCES = "chrF2"
"""BLEU of a single sentence is 0 too often to tell sentences apart."""


def write(
    path: Path,
    sources: Sequence[str],
    references: Sequence[str],
    hypotheses: Sequence[str],
    target_lang: str,
) -> dict[str, Any]:
    """Score the translations of a text and write them for ``nmt-moe report --translations``.

    Args:
        path: the file to write, JSON.
        sources: the text, line by line.
        references: its translations by people.
        hypotheses: those of the model, detokenised.
        target_lang: the code of their language.

    Returns:
        The content: ``scores`` by name, each with ``value``, ``low``, ``high`` and ``signature``;
        ``sentence_score``, the name of the sentences' score; and ``sentences`` in their order,
        each with ``source``, ``reference``, ``hypothesis`` and ``score``.

    Raises:
        UserError: there are no lines, or not as many of each.
    """
    found = {score.name: score for score in scored(hypotheses, references, target_lang)}
    sides = zip(sources, references, hypotheses, found[_OF_SENTENCES].lines, strict=True)
    names = ("source", "reference", "hypothesis", "score")
    content = {
        "scores": {name: score.as_dict() for name, score in found.items()},
        "sentence_score": _OF_SENTENCES,
        "sentences": [dict(zip(names, side, strict=True)) for side in sides],
    }
    with atomic_write([path]) as [file]:
        json.dump(content, file, ensure_ascii=False, indent=1)
        file.write("\n")
    return content
