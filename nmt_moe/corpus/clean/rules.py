"""The rules of cleaning: which characters are changed, and which pairs are removed.

A pair is counted under the first rule that removes it. A pair that is changed may be removed by a
later rule.
"""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from html.entities import html5

import regex

from nmt_moe.common.scripts import SPELT, size
from nmt_moe.corpus.clean.reading import MAX_LINE

# The ratio of short sentences says little: so much more than the ratio a side may be longer.
WORDS_BEYOND, CHARACTERS_BEYOND = 5, 30
# One language says in a long word what another one says in many: whatever their words, sides that
# are nearly as long as each other stay.
_NEARLY, _NEARLY_BEYOND = 1.5, 15
_LATIN = 1.1  # bytes for each character of what needs no closer look at its scripts
_LETTERS_OF_WORDS = 3.5  # with the space: shorter words are letters and numbers in a row

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|([A-Za-z][A-Za-z0-9]{1,31}));")

# What looks like a space or ends a line: becomes a space.
SPACES = re.compile("[\t-\r\x1c-\x1f\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
# Quotes, dots and dashes of Windows-1252 that were read as Latin-1: become what they were. (U+0085,
# a line end for Python, is three dots there.)
_WINDOWS = {
    byte: bytes([byte]).decode("cp1252", errors="ignore") or None for byte in range(0x80, 0xA0)
}
# What has no look of its own: other control characters, zero-width and directional ones, soft
# hyphens, byte-order marks, characters of private use, and what is no character. Removed, but for
# the joiners, separators and tags that spelling and emoji need.
INVISIBLE = regex.compile(
    "[\x00-\x08\x0e-\x1b\x7f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ue000-\uf8ff\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U000e0000-\U000e001f\U000f0000-\U0010ffff]"
    rf"|[\u180e\u200c\u200d\U000e0020-\U000e007f](?<!{SPELT})"
)

CHANGES = {
    "entities": "HTML entities, decoded",
    "special": "control and special characters, replaced or removed",
}


@dataclass(frozen=True)
class Limits:
    """The limits of lengths and ratios."""

    words: int = 250
    characters: int = 2000
    ratio: float = 2.5

    def describe(self) -> dict[str, str]:
        """The rules that remove a pair, in their order, with descriptions."""
        return {
            "encoding": "not UTF-8, or lost characters (U+FFFD)",
            "empty": "an empty side",
            "long": f"more than {self.words:,} words or {self.characters:,} characters",
            "ratio": f"one side more than {self.ratio:g} times as long as the other",
            "identical": "identical sides",
            "language": "another language",
            "duplicate": "a pair that came before",
        }


@dataclass
class Pair:
    """The result of a pair: its text, the rules that changed it, and the one that removes it."""

    source: str
    target: str
    changed: tuple[str, ...] = ()
    removed: str | None = None


def normalise(line: str) -> tuple[str, tuple[str, ...]]:
    """Decode entities, replace special characters and reduce whitespace to single spaces.

    Returns:
        The line, and the names of the CHANGES that were needed; extra spaces do not count.
    """
    changed: tuple[str, ...] = ()
    if "&" in line:
        decoded = _ENTITY.sub(_decode, line)
        if decoded != line:
            line, changed = decoded, ("entities",)
    replaced = plain(line)
    if replaced != line:
        line, changed = replaced, (*changed, "special")
    return " ".join(line.split()), changed


def plain(line: str) -> str:
    """Replace or remove control and special characters."""
    if line.isprintable():  # what is replaced is not
        return line
    line = SPACES.sub(" ", line.translate(_WINDOWS))
    return line if line.isprintable() else INVISIBLE.sub("", line)


def _decode(entity: re.Match[str]) -> str:
    name = entity[1]
    return html5.get(name + ";", entity[0]) if name else html.unescape(entity[0])


def judge(
    source: bytes,
    target: bytes,
    limits: Limits,
    foreign: Callable[[str, str], bool] | None = None,
) -> Pair:
    """Apply all rules but that of duplicates to two raw lines.

    Args:
        source: a line without its end.
        target: its translation.
        limits: of lengths and ratios.
        foreign: whether a side of a normalised pair is in the wrong language.
    """
    if max(len(source), len(target)) > MAX_LINE:
        return Pair(_shown(source), _shown(target), removed="long")
    try:
        left, left_changed = normalise(source.decode())
        right, right_changed = normalise(target.decode())
    except UnicodeDecodeError:
        return Pair(_shown(source), _shown(target), removed="encoding")
    changed = left_changed + right_changed
    pair = Pair(left, right, tuple(dict.fromkeys(changed)) if changed else ())
    pair.removed = _broken(left, right, limits, len(source), len(target))
    if pair.removed is None and foreign is not None and foreign(left, right):
        pair.removed = "language"
    return pair


def _broken(left: str, right: str, limits: Limits, left_bytes: int, right_bytes: int) -> str | None:
    if "\ufffd" in left or "\ufffd" in right:
        return "encoding"
    if not (left and right):
        return "empty"
    # First of the left and of the right, then in their order; by far the most pairs are fine.
    more: float = left.count(" ") + 1
    less: float = right.count(" ") + 1
    longer: float = len(left)
    shorter: float = len(right)
    if longer > limits.characters or shorter > limits.characters:
        return "long"
    if left_bytes > _LATIN * longer or right_bytes > _LATIN * shorter:
        (more, longer), (less, shorter) = size(left), size(right)
    words = longer if more > less else shorter  # the side with more of them
    if more < less:
        more, less = less, more
    if longer < shorter:
        longer, shorter = shorter, longer
    if more > limits.words:
        return "long"
    if longer > limits.ratio * shorter + CHARACTERS_BEYOND:
        return "ratio"
    if more > limits.ratio * less + WORDS_BEYOND and (
        longer > _NEARLY * shorter + _NEARLY_BEYOND or words < _LETTERS_OF_WORDS * more
    ):
        return "ratio"
    return "identical" if left == right else None


def _shown(raw: bytes) -> str:
    return raw[:MAX_LINE].decode(errors="backslashreplace")
