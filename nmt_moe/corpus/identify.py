"""Which of two languages a text is in: by its script, by py3langid where it is installed, and else
by the spelling of its words.
"""

from functools import cache
from typing import Any, Literal

import regex

from nmt_moe.common.errors import UserError
from nmt_moe.common.languages import Language, find
from nmt_moe.corpus.clean.language import identifier
from nmt_moe.corpus.spelling import ratio

Heard = Literal["own", "other", "foreign"]

_SCRIPTS = {"Hans": "Han", "Hant": "Han", "Jpan": "Han Hira Kana", "Kore": "Hang Han"}
_LETTERS = 20  # fewer say nothing
_FEW = 0.2  # of the letters: of a script that is not the text's
_SURE = 0.95  # probability of a third language
# Languages that are often taken for each other.
_ALIKE = [{"bs", "hr", "sr"}, {"da", "nb", "nn", "no"}, {"id", "ms"}, {"xh", "zu"}]
_NONE = {"zxx", "und"}  # codes for no language
_SHORT = 100  # characters whose spelling says too little
_CLEARLY = 0.2  # a mean of logarithms; in text that is right it is -1.4 to 0
_LETTER = regex.compile(r"\p{L}")


class Identifier:
    """Tells whether text is in its own language, in that of the other side, or in neither."""

    def __init__(self, source: str, target: str) -> None:
        self._languages = (find(source), find(target))
        self._scripts = [_script(language) for language in self._languages]

    def judge(self, text: str, side: int) -> tuple[Heard, str] | None:
        """Where the text of a side belongs, and the code of its language or its script.

        None where it cannot be told.
        """
        own, other = self._languages[side], self._languages[1 - side]
        letters = len(_LETTER.findall(text))
        if letters < _LETTERS or own is None:
            return None
        script = self._scripts[side]
        if script is not None and len(script.findall(text)) < _FEW * letters:
            there = self._scripts[1 - side]
            if there is not None and len(there.findall(text)) >= letters / 2 and other is not None:
                return "other", other.code
            return "foreign", f"not {own.script}"
        return self._by_words(text, own, other)

    def swapped(self, source: str, target: str) -> bool:
        """Whether both texts are spelled rather as the other language is.

        For languages of one script that :meth:`judge` cannot tell.
        """
        one, other = self._languages
        if one is None or other is None or min(len(source), len(target)) < _SHORT:
            return False
        left, right = ratio(source, one.code, other.code), ratio(target, one.code, other.code)
        # Of the difference, as the one language may be known better than the other.
        return left is not None and right is not None and right - left > _CLEARLY

    def _by_words(
        self, text: str, own: Language, other: Language | None
    ) -> tuple[Heard, str] | None:
        classifier = _classifier()
        if classifier is None or not set(own.codes) & set(classifier.labels):
            return None
        found, probability = classifier.classify(text)
        if found in own.codes:
            return "own", found
        if other is not None and found in other.codes:
            return "other", found
        alike = any(found in some and own.code in some for some in _ALIKE)
        sure = probability >= _SURE and not alike and found not in _NONE
        return ("foreign", found) if sure else None


@cache
def _classifier() -> Any:
    """py3langid's, or None where it is not installed."""
    try:
        return identifier()
    except UserError:
        return None


def _script(language: Language | None) -> "regex.Pattern[str] | None":
    if language is None:
        return None
    names = _SCRIPTS.get(language.script, language.script).split()
    try:
        return regex.compile("[" + "".join(rf"\p{{scx={name}}}" for name in names) + "]")
    except regex.error:  # a script that Unicode does not have
        return None
