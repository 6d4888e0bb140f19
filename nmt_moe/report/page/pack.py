"""Compression of a report's content: each text once, and numbers instead of repeated keys.

Many experts share lines of context and typical tokens.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any


class Texts:
    """Numbers strings in the order of their first use."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def all(self) -> list[str]:
        return list(self._numbers)


def pack(contents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The contents of one or two checkpoints in the form that the page's scripts read.

    ``pieces`` holds all wordpieces and labels, ``lines`` all texts of contexts. An expert's details
    become flat lists of numbers:

    - ``contexts``: gate, line, start and length of the token in it (UTF-16 units, as scripts count)
    - ``typical``: piece, count, share, base
    - ``labels``: label, share, base
    - ``nearest``: expert, similarity
    """
    pieces, lines = Texts(), Texts()
    packed = [
        content
        | {
            "layers": [_layer(layer, pieces, lines) for layer in content["layers"]],
            "sentences": [_sentence(sentence, pieces) for sentence in content["sentences"]],
        }
        for content in contents
    ]
    return {"contents": packed, "pieces": pieces.all(), "lines": lines.all()}


def finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON does not have, by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return value


def _layer(layer: dict[str, Any], pieces: Texts, lines: Texts) -> dict[str, Any]:
    details = layer["details"]
    packed = {
        "contexts": [_flat(_context(found, lines) for found in e["contexts"]) for e in details],
        "typical": [
            _flat(
                (pieces(found["token"]), found["count"], *_rounded(found, "share", "base"))
                for found in e["typical"]
            )
            for e in details
        ],
        "labels": [
            _flat(
                (pieces(found["label"]), *_rounded(found, "share", "base"))
                for found in e["labels"] or ()
            )
            for e in details
        ],
        "nearest": [
            _flat((found["expert"], *_rounded(found, "similarity")) for found in e["nearest"])
            for e in details
        ],
    }
    importance = [_digits(value, 6) for value in layer["importance"]]
    return layer | {"importance": importance, "details": packed}


def _context(found: dict[str, Any], lines: Texts) -> tuple[float, int, int, int]:
    before, token = found["before"], found["token"]
    line = lines(before + token + found["after"])
    return _digits(found["gate"], 4), line, _utf16(before), _utf16(token)


def _sentence(sentence: dict[str, Any], pieces: Texts) -> dict[str, Any]:
    attention = sentence["attention"]
    sides = ("source", "target", "predicted")
    return {side: [pieces(piece) for piece in sentence[side]] for side in sides} | {
        "attention": attention and [[_digits(value, 3) for value in row] for row in attention],
        "experts": {
            layer: [[[expert, _digits(gate, 4)] for expert, gate in found] for found in rows]
            for layer, rows in sentence["experts"].items()
        },
    }


def _flat(rows: Iterable[Sequence[float]]) -> list[float]:
    return [value for row in rows for value in row]


def _rounded(found: dict[str, Any], *keys: str) -> list[float]:
    return [_digits(found[key], 4) for key in keys]


def _digits(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
