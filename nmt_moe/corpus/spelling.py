"""Which of two languages a text is spelled in, from the letters that follow each other in CLDR.

CLDR, which Babel brings, has the names of languages, countries, scripts, currencies and months in
hundreds of languages: some thousand words of each.
"""

import math
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

from babel import Locale, UnknownLocaleError

_KINDS = ("languages", "scripts", "territories", "currencies", "months", "days")
_UNSEEN = 0.5  # of a trigram that is not there
_FEW = 2000  # trigrams: CLDR does not know the language
_TRIGRAMS = 5000  # that there may be


def ratio(text: str, one: str, other: str) -> float | None:
    """How much likelier a text is in one language than in another: the mean over its trigrams of
    the logarithm of the ratio; None if CLDR does not know them.

    Args:
        text: a few sentences.
        one: the code of a language.
        other: the code of another.
    """
    models = [_trigrams(code) for code in (one, other)]
    sums = [model.total() for model in models]
    if min(sums) < _FEW:
        return None
    found = Counter(_cut(text))
    scores = [
        math.fsum(
            number * math.log((model[trigram] + _UNSEEN) / (total + _UNSEEN * _TRIGRAMS))
            for trigram, number in found.items()
        )
        for model, total in zip(models, sums, strict=True)
    ]
    return (scores[0] - scores[1]) / max(1, found.total())


@cache
def _trigrams(code: str) -> Counter[str]:
    try:
        locale = Locale.parse(code)
    except (UnknownLocaleError, ValueError):
        return Counter()
    names = (name for kind in _KINDS for name in _texts(getattr(locale, kind)))
    return Counter(trigram for name in names for trigram in _cut(name))


def _texts(found: Any) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    else:
        for key in found:
            yield from _texts(found[key])


def _cut(text: str) -> Iterator[str]:
    """Three characters in a row, of letters and the ends of words."""
    for word in text.casefold().split():
        letters = "".join(filter(str.isalpha, word))
        spaced = f" {letters} "
        yield from (spaced[place : place + 3] for place in range(len(spaced) - 2))
