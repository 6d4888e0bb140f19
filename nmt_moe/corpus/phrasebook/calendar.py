"""Days, dates and times of day, from CLDR."""

from __future__ import annotations

import datetime as dt
from itertools import product

from babel.dates import (
    format_date,
    format_skeleton,
    format_time,
    get_day_names,
    get_month_names,
)

from nmt_moe.corpus.phrasebook.template import LANGUAGES, Entry, Forms, tidy

FIRST_YEAR, LAST_YEAR = 2025, 2027
# A leap year, so that every day of the year is there once.
DAYS = [dt.date(2024, 1, 1) + dt.timedelta(days=day) for day in range(366)]
DATES = [dt.date(FIRST_YEAR, 1, 1) + dt.timedelta(days=day) for day in range(3 * 365)]
QUARTERS = [dt.time(hour, minute) for hour in range(7, 22) for minute in (0, 15, 30, 45)]
TRAIN_TIMES = [dt.time(hour, minute) for hour in range(5, 24) for minute in range(0, 60, 5)]
HOURS = list(product(
    [dt.time(hour, minute) for hour in range(7, 12) for minute in (0, 30)],
    [dt.time(hour, minute) for hour in range(16, 23) for minute in (0, 30)],
))  # fmt: skip
WEEKDAYS = range(7)
MONTHS = range(1, 13)
YEARS = range(1985, 2025)


def french_first(text: str) -> str:
    """Return a French date with "1er" for the first of a month, which CLDR writes "1"."""
    return " ".join("1er" if word == "1" else word for word in tidy(text).split())


def day(date: dt.date) -> Entry:
    """Return day and month: March 1, 1. März, 1er mars."""
    texts = {lang: format_skeleton("MMMMd", date, locale=lang) for lang in LANGUAGES}
    return {
        "en": Forms({"": tidy(texts["en"])}),
        "de": Forms({"": tidy(texts["de"])}),
        "fr": Forms({"": french_first(texts["fr"])}),
    }


def date(value: dt.date) -> Entry:
    """Return a date: bare with the year, ``full`` with the weekday.

    German sets an article after the weekday: ``der`` in the nominative, ``dem`` after "am".
    """
    entry: Entry = {}
    for lang in LANGUAGES:
        long, full = (tidy(format_date(value, size, locale=lang)) for size in ("long", "full"))
        if lang == "fr":
            long, full = french_first(long), french_first(full)
        entry[lang] = Forms({"": long, "full": full})
    for article in ("der", "dem"):
        entry["de"][article] = entry["de"]["full"].replace(", ", f", {article} ", 1)
    return entry


def clock(time: dt.time) -> Entry:
    """Return a time of day: 3:05 PM, 15:05, 15:05."""
    return {lang: Forms({"": tidy(format_time(time, "short", locale=lang))}) for lang in LANGUAGES}


def opening(pair: tuple[dt.time, dt.time]) -> Entry:
    """Return opening hours: the forms ``open`` and ``close``."""
    first, last = clock(pair[0]), clock(pair[1])
    return {lang: Forms({"open": first[lang][""], "close": last[lang][""]}) for lang in LANGUAGES}


def weekday(number: int) -> Entry:
    """Return a day of the week, 0 for Monday; the French form ``s`` is the plural."""
    entry = {lang: Forms({"": tidy(get_day_names("wide", locale=lang)[number])})
             for lang in LANGUAGES}  # fmt: skip
    entry["fr"]["s"] = f"{entry['fr']['']}s"
    return entry


def month(number: int) -> Entry:
    """Return a month."""
    return {lang: Forms({"": tidy(get_month_names("wide", locale=lang)[number])})
            for lang in LANGUAGES}  # fmt: skip
