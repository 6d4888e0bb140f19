"""Where the two sides of a text no longer belong together, line by line.

Sentences and their translations agree in length, in their numbers and in their marks. In each
window of lines this agreement, a sum of correlations, is compared with that of the same sources and
the targets a few lines away.
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np

from nmt_moe.corpus.sources.pair import Pair

_SHIFTS = 5  # lines, in both directions
_SURE = 6.0  # standard errors
_CLEARLY = 0.2  # more agreement
_FEW = 200  # lines say nothing of a text without any agreement
_NEARLY = 0.9  # of the agreement from some line on has the whole window
_NO_VARIANCE = 0.1  # of the logarithms of lengths: sentences of one length tell nothing

_FAR = 8.0  # standard deviations; rare marks and numbers count no more

_DIGITS = re.compile(r"\d+")
_QUESTION, _CALL, _COMMAS = "?？؟;", "!！", ",，、،"


class Break(NamedTuple):
    """Lines whose sides do not belong together."""

    first: int
    last: int
    shift: int | None
    """How many lines later the translations stand; None: nowhere near."""


class Window(NamedTuple):
    """Features of consecutive lines, standardised, and the numbers of these lines."""

    source_LF: np.ndarray
    target_LF: np.ndarray
    lines: list[int]


class Alignment:
    """Takes windows of pairs in order."""

    def __init__(self) -> None:
        self.breaks: list[Break] = []
        self._before: Window | None = None
        self._shift: int | None = 0

    def add(self, pairs: Sequence[Pair]) -> None:
        """Look at the next window; one that tells nothing is as the one before."""
        window = _window(pairs)
        shift = _judge(window) if _tells(window) else self._shift
        if shift != 0:
            last = window.lines[-1]
            if self._shift == shift:
                self.breaks[-1] = self.breaks[-1]._replace(last=last)
            else:
                self.breaks.append(Break(_begin(self._before, window, shift), last, shift))
        self._before, self._shift = window, shift


def _window(pairs: Sequence[Pair]) -> Window:
    full = np.array([bool(pair.source and pair.target) for pair in pairs])
    sides: list[np.ndarray] = []
    for texts in ([pair.source for pair in pairs], [pair.target for pair in pairs]):
        side_LF = np.array([_features(text) for text in texts], float)
        spread_F = side_LF[full].std(0) if full.any() else np.zeros(side_LF.shape[1])
        if spread_F[0] < _NO_VARIANCE:
            spread_F[0] = 0
        mean_F = side_LF[full].mean(0) if full.any() else spread_F
        standard_LF = (side_LF - mean_F) / np.where(spread_F > 1e-6, spread_F, np.inf)
        standard_LF[~full] = 0
        sides.append(standard_LF.clip(-_FAR, _FAR))
    return Window(sides[0], sides[1], [pair.line for pair in pairs])


def _features(text: str) -> tuple[float, ...]:
    end = text[-1:]
    numbers: tuple[float, ...] = (0, 0, 0)
    digits = _DIGITS.findall(text)
    if digits:
        plain = "".join(str(unicodedata.decimal(char)) for char in sorted("".join(digits)))
        value = crc32(plain.encode())
        numbers = (1, (value & 1) * 2 - 1, (value >> 1 & 1) * 2 - 1)
    return (
        math.log1p(len(text)),
        bool(end) and end in _QUESTION,
        bool(end) and end in _CALL,
        sum(map(text.count, _COMMAS)),
        *numbers,
    )


def _products(window: Window, shift: int) -> np.ndarray:
    """The agreement of each source line with the target so many lines later; 0 where none is."""
    lines = len(window.lines)
    found_L = np.zeros(lines)
    first, last = max(0, -shift), min(lines, lines - shift)
    if first < last:
        products_LF = window.source_LF[first:last] * window.target_LF[first + shift : last + shift]
        found_L[first:last] = products_LF.sum(1)
    return found_L


def _used(window: Window) -> np.ndarray:
    """Which features vary on both sides."""
    return np.abs(window.source_LF).any(0) & np.abs(window.target_LF).any(0)


def _tells(window: Window) -> bool:
    return len(window.lines) > 4 * _SHIFTS and bool(_used(window).any())


def _judge(window: Window) -> int | None:
    """By how many lines later the translations stand; None if they are nowhere near."""
    lines, used_F = len(window.lines), _used(window)
    error = math.sqrt(used_F.sum() / lines)
    agreement = {
        shift: _products(window, shift).sum() / (lines - abs(shift))
        for shift in range(-_SHIFTS, _SHIFTS + 1)
    }
    best = max(agreement, key=agreement.__getitem__)
    if agreement[best] - agreement[0] > max(_CLEARLY, _SURE * error):
        return best
    lengths = (window.source_LF[:, 0] * window.target_LF[:, 0]).mean()
    nothing = agreement[0] < 3 * error and lengths < 3 / math.sqrt(lines)
    return None if nothing and used_F[0] and lines >= _FEW else 0


def _begin(before: Window | None, window: Window, shift: int | None) -> int:
    """The line from which on the sides agree better if moved, or less than half as usual."""
    windows = [window] if before is None else [before, window]
    lines = [line for one in windows for line in one.lines]
    usual = _products(windows[0], 0).mean() / 2
    gain_L = np.concatenate(
        [(usual if shift is None else _products(one, shift)) - _products(one, 0) for one in windows]
    )
    after_L = gain_L[::-1].cumsum()[::-1]
    if before is None and (shift is None or after_L[0] > _NEARLY * after_L.max()):
        return lines[0]
    return lines[int(after_L.argmax())]
