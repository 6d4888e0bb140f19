"""Numbers, prices, units and durations: num2words and CLDR, checked for the ranges used here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from itertools import product

from babel.dates import format_timedelta
from babel.numbers import format_currency
from babel.units import format_unit
from num2words import num2words

from nmt_moe.corpus.phrasebook.template import LANGUAGES, Entry, Forms, tidy

# 80 is left out: French writes "quatre-vingts" for an amount and "quatre-vingt" for a label.
WORD_NUMBERS = [number for number in range(2, 100) if number != 80]
# From 2, so that every counted noun is plural and French needs no "une".
FEW = range(2, 13)
COUNTS = range(2, 41)
AGES = range(18, 80)
# French "premier" would need a feminine.
ORDINALS = range(2, 21)
SIZES = range(34, 47)
ROOM_NUMBERS = [100 * floor + door for floor, door in product(range(1, 6), range(1, 21))]
# Two different ones stay under a hundred together.
PERCENTS = range(5, 55, 5)
SUMS = list(product(range(2, 21), range(2, 21)))

PRICES = [Decimal(cents) / 100 for cents in (*range(150, 1000, 50), *range(1000, 5000, 250))]
BIG_PRICES = range(40, 400, 5)
SYMBOLS = ("EUR", "USD")
MONEY = list(product(
    (*range(20, 100, 10), *range(100, 1001, 50)),
    ("EUR", "USD", "CHF", "GBP", "CAD", "AUD", "SEK", "NOK", "DKK", "CZK", "JPY"),
))  # fmt: skip

TENTHS = [Decimal(tenths) / 10 for tenths in range(5, 55, 5)]
TEMPERATURES = range(2, 36)
WALKS = [(number, "length-meter") for number in range(50, 1000, 50)]
DISTANCES = [(number, "length-kilometer") for number in range(20, 910, 10)]
WEIGHTS = [(number, "mass-kilogram") for number in TENTHS]
WEIGHTS += [(Decimal(grams), "mass-gram") for grams in range(50, 1000, 50)]
VOLUMES = [(number, "volume-liter") for number in TENTHS]

# Inside the bounds where Babel keeps the unit (20 minutes stay minutes, 14 days become weeks).
SECONDS = {"minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000}
SECONDS["year"] = 31536000
SHORT_SPANS = [("minute", number) for number in range(5, 51, 5)]
SHORT_SPANS += [("hour", number) for number in range(1, 13)]
TRIP_SPANS = [("hour", number) for number in range(2, 21)]
DAY_SPANS = [("day", number) for number in range(1, 6)] + [("week", 2), ("week", 3)]
LONG_SPANS = DAY_SPANS + [("month", number) for number in range(2, 11)]
LONG_SPANS += [("year", number) for number in range(1, 16)]


def same(texts: Sequence[str]) -> Entry:
    """Return an entry with one bare form per language, in the order of ``LANGUAGES``."""
    return {lang: Forms({"": tidy(text)}) for lang, text in zip(LANGUAGES, texts, strict=True)}


def digits(number: int) -> Entry:
    """Return a number in digits."""
    return same([str(number)] * 3)


def words(number: int) -> Entry:
    """Return a number in words; the form ``digits`` has its digits."""
    return {
        lang: Forms({"": tidy(num2words(number, lang=lang)), "digits": str(number)})
        for lang in LANGUAGES
    }


def ordinal(number: int) -> Entry:
    """Return an ordinal in words; the German form ``en`` is "dritten" for "dritte"."""
    entry = same([num2words(number, lang=lang, to="ordinal") for lang in LANGUAGES])
    entry["de"]["en"] = f"{entry['de']['']}n"
    return entry


def sum_of(pair: tuple[int, int]) -> Entry:
    """Return two numbers and their sum in words: forms ``a``, ``b`` and ``sum``."""
    numbers = {"a": pair[0], "b": pair[1], "sum": sum(pair)}
    return {
        lang: Forms({key: tidy(num2words(value, lang=lang)) for key, value in numbers.items()})
        for lang in LANGUAGES
    }


def price(value: tuple[Decimal, str]) -> Entry:
    """Return an amount with a currency sign: €12.50, 12,50 €."""
    return same([format_currency(value[0], value[1], locale=lang) for lang in LANGUAGES])


def whole_price(amount: int) -> Entry:
    """Return an amount of euros without cents: €120, 120 €."""
    entry = price((Decimal(amount), "EUR"))
    for forms in entry.values():
        forms[""] = forms[""].replace(".00", "").replace(",00", "")
    return entry


def money(value: tuple[int, str]) -> Entry:
    """Return an amount with the currency's name: 50 Swiss francs, 50 Schweizer Franken."""
    entry = same([
        format_currency(
            value[0], value[1], locale=lang, format_type="name", currency_digits=False
        )
        for lang in LANGUAGES
    ])  # fmt: skip
    # CLDR writes German names as they stand alone; inside a sentence the adjective is small,
    # except "Schweizer", which comes from a place name.
    amount, *name = entry["de"][""].split()
    if len(name) == 2 and name[0] != "Schweizer":
        name[0] = name[0].lower()
    entry["de"][""] = " ".join([amount, *name])
    return entry


def unit(value: tuple[Decimal | int, str]) -> Entry:
    """Return a quantity with its CLDR unit in full: 1.5 liters, 1,5 Liter, 1,5 litre."""
    return same([format_unit(value[0], value[1], locale=lang) for lang in LANGUAGES])


def span(value: tuple[str, int]) -> Entry:
    """Return a duration: bare, ``in`` (in 3 days), ``ago`` and the German dative ``dat``."""
    name, number = value
    delta = dt.timedelta(seconds=SECONDS[name] * number)
    entry: Entry = {}
    for lang in LANGUAGES:
        bare = format_unit(number, f"duration-{name}", locale=lang)
        ahead = tidy(format_timedelta(delta, add_direction=True, locale=lang))
        ago = tidy(format_timedelta(-delta, add_direction=True, locale=lang))
        entry[lang] = Forms({"": tidy(bare), "in": ahead, "ago": ago})
    # "in" governs the dative, so what follows it is the dative.
    entry["de"]["dat"] = entry["de"]["in"].removeprefix("in ")
    return entry
