"""Labels: dates, amounts, names and lists of them, in every language that CLDR knows well.

Nothing stands around them that would need a grammar, so the same hidden values can be written in
any two languages, and each text is the translation of the other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import product
from math import prod

from babel import Locale
from babel.dates import format_date, format_skeleton, format_time, format_timedelta, get_day_names
from babel.lists import format_list
from babel.numbers import format_currency
from babel.units import format_unit
from num2words import num2words

from nmt_moe.corpus.phrasebook import calendar, countries, numbers, sampling
from nmt_moe.corpus.phrasebook.template import LANGUAGES as TEMPLATE_LANGUAGES
from nmt_moe.corpus.phrasebook.template import tidy

# Those for which Babel has all names and patterns used here. Persian and others whose spelling
# needs zero-width characters are left out: version 0.1.0 could not spell them.
LANGUAGES = (
    "af am ar as ast az be bg br bs ca cs cy da de dsb el en eo es et eu fi fil fo fr fur fy ga "
    "gd gl gu ha he hi hr hsb ht hu hy ia id is it ja jv ka kab kk km ko kok ky lb lij lo lt lv "
    "mk mn mr ms my nb ne nl nn no pa pl ps pt ro ru sc sk sl so sq sr sv sw ta th ti tk tr ug "
    "uk ur uz vec vi yue zh zu"
).split()
# Those in which num2words spells cardinal numbers as one does when counting.
SPELLED = "cs da de en es fi fr hu id it ja ko nl pl pt ro ru sv tr uk".split()

Writer = Callable[..., str]


@cache
def locale(language: str) -> Locale:
    """Return CLDR's data of a language."""
    return Locale.parse(language)


def unit(value: tuple[Decimal | int, str], language: str) -> str:
    """Return a quantity: 3 kilometers, or the short form where Babel lacks the long one."""
    text: str = format_unit(*value, "long", locale=locale(language))
    if value[1] in text:
        text = format_unit(*value, "short", locale=locale(language))
    return text


def money(value: tuple[int, str], language: str) -> str:
    """Return an amount with the currency's name: 50 Swiss francs."""
    if language in TEMPLATE_LANGUAGES:
        return numbers.money(value)[language][""]
    amount, currency = value
    text: str = format_currency(
        amount, currency, locale=locale(language), format_type="name", currency_digits=False
    )
    return text


def price(value: tuple[Decimal, str], language: str) -> str:
    """Return an amount with a currency sign: €12.50."""
    amount, currency = value
    text: str = format_currency(amount, currency, locale=locale(language))
    return text


def date(size: str) -> Writer:
    """Return a writer of dates, ``full`` with the weekday or ``long`` without."""

    def write(value: dt.date, language: str) -> str:
        text: str = format_date(value, size, locale(language))
        return calendar.french_first(text) if language == "fr" else text

    return write


def day(value: dt.date, language: str) -> str:
    """Return day and month: March 1."""
    text: str = format_skeleton("MMMMd", value, locale=locale(language))
    return calendar.french_first(text) if language == "fr" else text


def ahead(value: tuple[str, int], language: str) -> str:
    """Return when something comes: in 3 days."""
    delta = dt.timedelta(seconds=numbers.SECONDS[value[0]] * value[1])
    text: str = format_timedelta(delta, add_direction=True, locale=locale(language))
    return text


SLOTS: dict[str, tuple[Sequence[object], Writer]] = {
    "territory": (countries.COUNTRIES, lambda code, lang: locale(lang).territories[code]),
    "tongue": (countries.TONGUES, lambda code, lang: locale(lang).languages[code]),
    "full date": (calendar.DATES, date("full")),
    "long date": (calendar.DATES, date("long")),
    "day": (calendar.DAYS, day),
    "month": (
        [dt.date(year, month, 1) for year, month in product(calendar.YEARS, calendar.MONTHS)],
        lambda first, lang: format_skeleton("yMMMM", first, locale=locale(lang)),
    ),
    "weekday": (
        calendar.WEEKDAYS,
        lambda number, lang: get_day_names("wide", locale=locale(lang))[number],
    ),
    "time": (calendar.TRAIN_TIMES, lambda time, lang: format_time(time, "short", None, lang)),
    "unit": (
        [*numbers.WALKS, *numbers.DISTANCES, *numbers.WEIGHTS, *numbers.VOLUMES]
        + [(number, f"duration-{name}") for name, number in numbers.LONG_SPANS],
        unit,
    ),
    "money": (numbers.MONEY, money),
    "price": (list(product(numbers.PRICES, numbers.SYMBOLS)), price),
    "ahead": (numbers.SHORT_SPANS + numbers.LONG_SPANS, ahead),
    "spelled": (numbers.WORD_NUMBERS, lambda number, lang: num2words(number, lang=lang)),
}
SIZES = {name: len(values) for name, (values, _) in SLOTS.items()}


@dataclass(frozen=True)
class Kind:
    """A way to put slots together: by a pattern, or as a list with the language's own "and"."""

    slots: tuple[str, ...]
    pattern: str = ""

    def size(self) -> int:
        """Return the number of labels of this kind."""
        return prod(sampling.choices(self.slots, SIZES))

    def text(self, index: int, language: str) -> str:
        """Return label number ``index``, below ``size``, in a language."""
        values = sampling.picked(self.slots, SIZES, index)
        parts = [written(*place, language) for place in zip(self.slots, values, strict=True)]
        if self.pattern:
            return self.pattern.format(*parts)
        return tidy(format_list(parts, locale=locale(language)))

    def known(self, language: str) -> bool:
        """Tell whether the language has it."""
        return "spelled" not in self.slots or language in SPELLED


@cache
def written(slot: str, value: int, language: str) -> str:
    """Return value number ``value`` of a slot."""
    values, write = SLOTS[slot]
    return tidy(write(values[value], language))


KINDS = [
    Kind(("territory",) * 3),
    Kind(("tongue",) * 3),
    Kind(("unit",) * 3),
    Kind(("spelled",) * 3),
    Kind(("money",) * 2),
    Kind(("tongue", "territory") * 2, "{0} ({1}), {2} ({3})"),
    Kind(("territory", "full date", "time"), "{0}: {1}, {2}"),
    Kind(("long date",) * 2, "{0} – {1}"),
    Kind(("day", "time", "time", "territory"), "{0}, {1} – {2} ({3})"),
    Kind(("month", "territory", "money"), "{0}: {1} ({2})"),
    Kind(("unit", "price") * 2, "{0}: {1}; {2}: {3}"),
    Kind(("ahead", "weekday", "time"), "{0} ({1}, {2})"),
]
