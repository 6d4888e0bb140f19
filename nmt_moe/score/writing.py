"""Words that translation and reference share but spell with different characters.

BLEU counts them as different words, though a reader hardly sees a difference.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import regex

from nmt_moe.common.scripts import LETTER
from nmt_moe.corpus.clean.rules import INVISIBLE

# Punctuation alone; and words with what may be in them; a letter of a script without spaces.
_TOKEN = regex.compile(rf"{LETTER.pattern}|[\w\p{{Cf}}'’‘ʼ´`-]+|\S", regex.V1)
_QUOTES = str.maketrans({**dict.fromkeys("’‘ʼ‛´`", "'"), **dict.fromkeys("“”„‟", '"')})
_WIDE = str.maketrans({chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F)})


def _composed(line: str) -> str:
    return unicodedata.normalize("NFC", line)


_ALIKE: dict[str, Callable[[str], str]] = {
    "in composed or other characters (make both NFC)": _composed,
    "with straight or curly quotes": lambda line: line.translate(_QUOTES),
    "with full-width or ASCII characters": lambda line: line.translate(_WIDE),
    "with invisible characters": lambda line: INVISIBLE.sub("", line),
}


def differences(hypotheses: Sequence[str], references: Sequence[str]) -> Iterator[tuple[str, int]]:
    """For each kind of different spelling, in how many lines it occurs."""
    for name, alike in _ALIKE.items():
        lines = 0
        for pair in zip(hypotheses, references, strict=True):
            if pair[0] == pair[1] or (pair[0].isascii() and pair[1].isascii()):
                continue
            made = [alike(line) for line in pair]
            lines += made != [*pair] and _shared(*made) > _shared(*pair)
        if lines:
            yield name, lines


def _shared(left: str, right: str) -> int:
    """The tokens that both have in common."""
    return (Counter(_TOKEN.findall(left)) & Counter(_TOKEN.findall(right))).total()
