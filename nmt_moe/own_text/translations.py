"""The file of scored translations, which the report page and the model's card begin with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nmt_moe.own_text.request import write as write_json
from nmt_moe.score.evaluation import content
from nmt_moe.score.intervals import scored


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
        The content, see :func:`nmt_moe.score.evaluation.content`.

    Raises:
        UserError: there are no lines, or not as many of each.
    """
    found = scored(hypotheses, references, target_lang)
    whole = content(found, sources, references, hypotheses)
    write_json(path, whole)
    return whole
