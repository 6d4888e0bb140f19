"""What scripts differ in, by Unicode's properties: spaces, and how much a letter says."""

import re

import regex

# Languages in these scripts write no spaces between words: those of which Unicode breaks lines
# within a text (SA: Thai, Lao, Khmer, Myanmar, Tai; AK, AS: Javanese, Balinese, Batak), and these.
_UNSPACED = (
    r"\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Bopomofo}\p{scx=Yi}\p{scx=Tibetan}"
    r"\p{lb=SA}\p{lb=AK}\p{lb=AS}"
)
# Of these scripts, the letters alone, and not those that they share with others (tones).
_LETTERS = r"[\p{L}\p{Nl}]&&[\u0e00-\U0010ffff]"
LETTER = regex.compile(rf"(?V1)[[{_UNSPACED}]&&{_LETTERS}]\p{{M}}*")  # and its marks
HAN = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}"  # Chinese and Japanese, within brackets
CLOSE = r"[\p{Pe}\p{Pf}\"\']"  # marks that end a quote or brackets
_UNSPACED_CHARACTER = regex.compile(rf"(?V1)[\p{{lb=SA}}[[{_UNSPACED}]&&{_LETTERS}]]")

# How many letters of the Latin, Greek, Cyrillic, Arabic or an Indic alphabet say as much as one of
# these; FLORES-200 has 3.05 to 3.3 characters of English for one of Chinese, 2.3 for one of
# Japanese, 2.0 for Korean, 1.45 to 1.5 for Ethiopic, and 0.7 to 1.3 for all other scripts.
_WORTH = [
    (3, r"\p{scx=Han}\p{scx=Bopomofo}"),
    (2, r"\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Yi}\uac00-\ud7a3"),
    (1.5, r"\p{sc=Ethiopic}\p{sc=Canadian_Aboriginal}\p{sc=Cherokee}\p{sc=Vai}"),
]
_PATTERNS = [
    (worth, regex.compile(rf"(?V1)[[{scripts}]&&{_LETTERS}]")) for worth, scripts in _WORTH
]

# Characters without a look of their own that spelling needs, each as the end of a pattern that sees
# what is around it. Joiners: beside a letter that changes its form (of Arabic and its like, and of
# the scripts of India and around), with a letter or number on the other side, and after a virama
# (a bit more than RFC 5892 allows); a single one of several in a row. In Mongolian the separator of
# vowels, between pictures the joiner, and after them the tags of flags.
_SHAPED = (
    r"(?V1:[[\p{scx=Arabic}\p{sc=Syriac}\p{sc=Nko}\p{jt=D}\p{jt=R}\p{jt=L}\P{InSC=Other}]"
    r"&&[\p{L}\p{M}]&&[\u0600-\U0010ffff]])"
)
_ANY = r"[\p{L}\p{M}\p{N}]"
_BEFORE, _AFTER = "[\u200b\u200e\u200f]{0,3}", "[\u200b-\u200f]{0,3}"  # are removed
_TAG = "[\U000e0020-\U000e007e]"
_PICTURE = r"\p{Extended_Pictographic}[\ufe0f\U0001f3fb-\U0001f3ff]?"
SPELT = (
    rf"(?:(?<={_SHAPED}{_BEFORE}[\u200c\u200d])(?={_AFTER}{_ANY})"
    rf"|(?<={_ANY}{_BEFORE}[\u200c\u200d])(?={_AFTER}{_SHAPED})"
    r"|(?<=\p{ccc=9}[\u200c\u200d])|(?<=\p{sc=Arabic}\u200d)"
    r"|(?<=\p{sc=Mongolian}\u180e)(?=\p{sc=Mongolian})"
    rf"|(?<={_PICTURE}\u200d)(?=\p{{Extended_Pictographic}})"
    rf"|(?<={_PICTURE}{_TAG}{{1,30}})(?={_TAG}{{0,30}}\U000e007f)"
    rf"|(?<={_PICTURE}{_TAG}{{1,30}}\U000e007f))"
)

_WORD = 6  # Latin letters and a space
# Nothing outside of these ranges is in one of the scripts above.
_OTHER = re.compile(
    "[\u0e00-\u13ff\u1400-\u1dbf\u2d80-\u2ddf\u2e80-\udfff\uf900-\ufaff\uff60-\U0010ffff]"
)


class _Worths(dict[str, int]):
    """Of a character, 4 times its worth; and 2^32 times that if words have no spaces around."""

    def __missing__(self, char: str) -> int:
        quarters = int(4 * next((w for w, pattern in _PATTERNS if pattern.match(char)), 1))
        unspaced = bool(_UNSPACED_CHARACTER.match(char))
        self[char] = quarters + (unspaced * quarters << 32)
        return self[char]


_worths = _Worths()


def words(text: str) -> int:
    """The words of a text between spaces; a letter of a script without spaces counts as one."""
    letters = 0 if text.isascii() else len(LETTER.findall(text))
    if not letters:
        return len(text.split())
    others = LETTER.sub(" ", text).split()
    return letters + sum(any(map(str.isalnum, word)) for word in others)


def size(text: str) -> tuple[float, float]:
    """How long a text with single spaces would be in Latin letters, in words and in characters."""
    spaced = text.count(" ") + 1
    if text.isascii() or not _OTHER.search(text):
        return spaced, len(text)
    unspaced, quarters = divmod(sum(map(_worths.__getitem__, text)), 2**32)
    return max(spaced, unspaced / (4 * _WORD)), quarters / 4
