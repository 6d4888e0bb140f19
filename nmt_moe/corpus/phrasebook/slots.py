"""The registry of slots: a slot's name, its values and how a value is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations, product

from babel.lists import format_list

from nmt_moe.corpus.phrasebook import calendar, countries, numbers, words, words_life
from nmt_moe.corpus.phrasebook.grammar import english_noun, french_de, french_noun, german_noun
from nmt_moe.corpus.phrasebook.template import LANGUAGES, Entry, Forms, Slot
from nmt_moe.corpus.phrasebook.words import Noun, Phrase

Writer = Callable[..., Entry]


def noun(row: Noun) -> Entry:
    """Return the forms of a row of nouns."""
    english, german_gender, german, french_gender, french = row
    return {
        "en": english_noun(english),
        "de": german_noun(german_gender, german),
        "fr": french_noun(french_gender, french),
    }


def garment(pair: tuple[tuple[str, str, str, str], Noun]) -> Entry:
    """Return a piece of clothing with its colour; the adjective agrees in German and French."""
    (colour, stem, masculine, feminine), (english, gender, german, french_gender, french) = pair
    agreed = masculine if french_gender == "m" else feminine
    return {
        "en": english_noun(f"{colour} {english}"),
        "de": german_noun(gender, german, stem),
        "fr": french_noun(french_gender, f"{french} {agreed}"),
    }


def phrase(row: Phrase) -> Entry:
    """Return a row of phrases; the French form ``de`` carries the preposition."""
    entry = numbers.same(row)
    entry["fr"]["de"] = french_de(row[2])
    return entry


def person(pair: tuple[str, str]) -> Entry:
    """Return a title and surname; the German forms ``Herr`` and ``Herrn`` carry the case."""
    title, surname = pair
    english, nominative, oblique, french = {
        "f": ("Ms.", "Frau", "Frau", "Mme"),
        "m": ("Mr.", "Herr", "Herrn", "M."),
    }[title]
    return {
        "en": Forms({"": f"{english} {surname}"}),
        "de": Forms({"Herr": f"{nominative} {surname}", "Herrn": f"{oblique} {surname}"}),
        "fr": Forms({"": f"{french} {surname}"}),
    }


def listed(write: Writer, form: dict[str, str]) -> Writer:
    """Return a writer of lists ("a, b, and c") whose items are ``write`` in the ``form`` given."""

    def join(items: Sequence[object]) -> Entry:
        entries = [write(item) for item in items]
        return numbers.same([
            format_list([entry[lang][form.get(lang, "")] for entry in entries], locale=lang)
            for lang in LANGUAGES
        ])  # fmt: skip

    return join


def triples(values: Sequence[object]) -> list[tuple[object, ...]]:
    """Return every ordered choice of three different values."""
    return list(permutations(values, 3))


INDEFINITE = {"en": "a", "de": "einen", "fr": "un"}
FIRST_PERSON = {"de": "meinen", "fr": "mon"}

SLOTS: dict[str, Slot] = {
    # Where
    "country": Slot(countries.COUNTRIES, countries.country),
    "tongue": Slot(countries.TONGUES, countries.tongue),
    "tongues": Slot(triples(countries.TONGUES[:24]), listed(countries.tongue, {})),
    "city": Slot(words.CITIES, countries.city),
    "cities": Slot(triples(words.CITIES), listed(countries.city, {})),
    "place": Slot(words.PLACES, noun),
    "venue": Slot([row for row in words.PLACES if row[0] not in words.ALWAYS_OPEN], noun),
    # Travel and hotel
    "transport": Slot(words.TRANSPORT, noun),
    "vehicle": Slot(words.VEHICLES, phrase),
    "room": Slot(words.ROOMS, noun),
    "view": Slot(words.VIEWS, phrase),
    "amenity": Slot(words.AMENITIES, noun),
    "amenities": Slot(triples(words.AMENITIES), listed(noun, INDEFINITE)),
    "fixture": Slot(words.FIXTURES, noun),
    # Table and shop
    "dish": Slot(words.DISHES, noun),
    "drink": Slot(words.DRINKS, noun),
    "drinks": Slot(triples(words.DRINKS), listed(noun, INDEFINITE)),
    "dishes": Slot(triples(words.DISHES), listed(noun, INDEFINITE)),
    "grocery": Slot(words.GROCERIES, phrase),
    "groceries": Slot(triples(words.GROCERIES), listed(phrase, {})),
    "liquid": Slot(words.LIQUIDS, phrase),
    "garment": Slot(list(product(words.COLOURS, words.CLOTHES)), garment),
    # Office and people
    "paper": Slot(words.PAPERS, noun),
    "papers": Slot(triples(words.PAPERS), listed(noun, FIRST_PERSON)),
    "device": Slot(words.DEVICES, noun),
    "person": Slot(list(product("fm", words_life.SURNAMES)), person),
    "name": Slot(words_life.FIRST_NAMES, lambda name: numbers.same([name] * 3)),
    "names": Slot(
        triples(words_life.FIRST_NAMES),
        listed(lambda name: numbers.same([name] * 3), {}),
    ),
    "family": Slot(words_life.FAMILY, noun),
    "hobby": Slot(words_life.HOBBIES, phrase),
    "weather": Slot(words_life.WEATHER, phrase),
    # Health
    "body": Slot(words_life.BODY, noun),
    "doctor": Slot(words_life.DOCTORS, noun),
    "remedy": Slot(words_life.REMEDIES, noun),
    "symptom": Slot(words_life.SYMPTOMS, phrase),
    "allergen": Slot(words_life.ALLERGENS, phrase),
    # When
    "day": Slot(calendar.DAYS, calendar.day),
    "date": Slot(calendar.DATES, calendar.date),
    "time": Slot(calendar.QUARTERS, calendar.clock),
    "departure": Slot(calendar.TRAIN_TIMES, calendar.clock),
    "hours": Slot(calendar.HOURS, calendar.opening),
    "weekday": Slot(calendar.WEEKDAYS, calendar.weekday),
    "month": Slot(calendar.MONTHS, calendar.month),
    "year": Slot(calendar.YEARS, numbers.digits),
    "wait": Slot(numbers.SHORT_SPANS, numbers.span),
    "trip": Slot(numbers.TRIP_SPANS, numbers.span),
    "stay": Slot(numbers.DAY_SPANS, numbers.span),
    "span": Slot(numbers.LONG_SPANS, numbers.span),
    # How many, how much
    "number": Slot(numbers.WORD_NUMBERS, numbers.words),
    "few": Slot(numbers.FEW, numbers.words),
    "count": Slot(numbers.COUNTS, numbers.digits),
    "age": Slot(numbers.AGES, numbers.digits),
    "ordinal": Slot(numbers.ORDINALS, numbers.ordinal),
    "size": Slot(numbers.SIZES, numbers.digits),
    "door": Slot(numbers.ROOM_NUMBERS, numbers.digits),
    "sum": Slot(numbers.SUMS, numbers.sum_of),
    "percent": Slot([(number, "concentr-percent") for number in numbers.PERCENTS], numbers.unit),
    "price": Slot(list(product(numbers.PRICES, numbers.SYMBOLS)), numbers.price),
    "euros": Slot(numbers.BIG_PRICES, numbers.whole_price),
    "money": Slot(numbers.MONEY, numbers.money),
    "walk": Slot(numbers.WALKS, numbers.unit),
    "distance": Slot(numbers.DISTANCES, numbers.unit),
    "weight": Slot(numbers.WEIGHTS, numbers.unit),
    "volume": Slot(numbers.VOLUMES, numbers.unit),
    "degrees": Slot(
        [(number, "temperature-celsius") for number in numbers.TEMPERATURES], numbers.unit
    ),
}
