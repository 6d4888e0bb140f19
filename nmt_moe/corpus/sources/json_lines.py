"""JSON lines: an object a line, with the sentences under languages, or source and target."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nmt_moe.common.errors import UserError
from nmt_moe.common.lines import whole_lines
from nmt_moe.corpus.sources.names import sides
from nmt_moe.corpus.sources.pair import Pair, spaced


def pairs(path: Path, source: str, target: str) -> Iterator[Pair]:
    """The pairs of objects such as ``{"en": ..., "de": ...}``, ``{"source": ..., "target": ...}``
    and ``{"translation": {"en": ..., "de": ...}}``.

    Raises:
        UserError: a line is no such object; names it.
    """
    for number, line in enumerate(whole_lines(path), 1):
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                hint = ""
                if number == 1 and line.lstrip().startswith(("[", "{")):
                    hint = "; if the file is one document, write a line each: jq -c '.[]'"
                raise UserError(f"{path}, line {number}: not JSON: {error}{hint}") from None
            yield _pair(record, source, target, f"{path}, line {number}")._replace(line=number)


def _pair(record: Any, source: str, target: str, where: str) -> Pair:
    if isinstance(record, list):
        raise UserError(f"{where}: a list, not an object: write a line each, as jq -c '.[]' does")
    if isinstance(record, dict) and isinstance(record.get("translation"), dict):
        record = record["translation"]
    if not isinstance(record, dict):
        raise UserError(f"{where}: not an object with text in {source} and {target}")
    texts = {name: text for name, text in record.items() if isinstance(text, str)}
    left, right = sides((*texts,), source, target)
    if left is None or right is None or left == right:
        names = ", ".join(record) or "none"
        raise UserError(f"{where}: no text for {source} and {target}; its keys are: {names}")
    return Pair(_plain(texts[left]), _plain(texts[right]), 0)


def _plain(text: str) -> str:
    """With single spaces, and without halves of characters, which only an escape can spell."""
    return spaced(text.encode(errors="replace").decode())
