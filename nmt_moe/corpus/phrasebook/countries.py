"""Countries, languages and cities: CLDR names, with the prepositions that each name takes.

The form ``in`` says where, ``to`` where to and ``from`` where from; the bare form is the name as
it stands on a label. CLDR has no genders, so the French ones are listed here. Islands and names
whose usage wavers (auf Malta, en or à la Jamaïque) are left out.
"""

from __future__ import annotations

from babel import Locale

from nmt_moe.corpus.phrasebook.grammar import elides, french_de
from nmt_moe.corpus.phrasebook.template import Entry, Forms, tidy

ENGLISH, GERMAN, FRENCH = Locale("en"), Locale("de"), Locale("fr")

# By the French article: la, le, l' (both genders behave alike after "en"), none.
FRENCH_LA = "DE FR BE BG HR ES EE FI GR HU IE IS IT LV LT NO PL RO SE SI CN RU IN ID TH".split()
FRENCH_LA += "TN DZ AU AR AT BO CO JO MY NZ ZA KR SA EG EC IL CH UA".split()
FRENCH_LE = "DK PT BR CA CL MX PE JP VN MA SN KE GH CM PY VE NP KH LU".split()
FRENCH_PLURAL = ["NL", "US"]
FRENCH_BARE = ["CU", "SG"]
# "en Israël", but "pour Israël" without an article.
FRENCH_EN_BARE = ["IL"]
COUNTRIES = FRENCH_LA + FRENCH_LE + FRENCH_PLURAL + FRENCH_BARE

# Territories with an article in German: nominative name, "in" + dative, "in" + accusative, "aus".
GERMAN_ARTICLE = {
    "CH": ("in der Schweiz", "in die Schweiz", "aus der Schweiz"),
    "UA": ("in der Ukraine", "in die Ukraine", "aus der Ukraine"),
    "NL": ("in den Niederlanden", "in die Niederlande", "aus den Niederlanden"),
    "US": ("in den Vereinigten Staaten", "in die Vereinigten Staaten",
           "aus den Vereinigten Staaten"),
}  # fmt: skip
ENGLISH_THE = ("NL", "US")

TONGUES = (
    "ar bg ca cs da de el en es et fa fi fr ga he hr hu is it ja ko lt lv nl no pl pt ro ru sk sl "
    "sr sv th tr uk vi zh"
).split()


def french_place(code: str, name: str) -> Forms:
    """Return the French forms of a territory: en France, au Portugal, aux Pays-Bas, à Cuba.

    The form ``le`` is the name with its article, if it has one.
    """
    if code in FRENCH_PLURAL:
        article, where, origin = f"les {name}", f"aux {name}", f"des {name}"
    elif code in FRENCH_BARE:
        article, where, origin = name, f"à {name}", french_de(name)
    elif code in FRENCH_LE:
        article, where, origin = f"le {name}", f"au {name}", f"du {name}"
    else:
        article = f"l'{name}" if elides(name) else f"la {name}"
        if code in FRENCH_EN_BARE:
            article = name
        where, origin = f"en {name}", french_de(name)
    return Forms({"": name, "le": article, "in": where, "to": where, "from": origin})


def country(code: str) -> Entry:
    """Return the forms of a territory by its ISO code."""
    english, german, french = (
        tidy(locale.territories[code]) for locale in (ENGLISH, GERMAN, FRENCH)
    )
    the = f"the {english}" if code in ENGLISH_THE else english
    inside, into, out = GERMAN_ARTICLE.get(
        code, (f"in {german}", f"nach {german}", f"aus {german}")
    )
    return {
        "en": Forms({"": english, "in": f"in {the}", "to": f"to {the}", "from": f"from {the}"}),
        "de": Forms({"": german, "in": inside, "to": into, "from": out}),
        "fr": french_place(code, french),
    }


def tongue(code: str) -> Entry:
    """Return the name of a language; the French form ``le`` carries the article."""
    french = tidy(FRENCH.languages[code])
    article = f"l'{french}" if elides(french) else f"le {french}"
    return {
        "en": Forms({"": tidy(ENGLISH.languages[code])}),
        "de": Forms({"": tidy(GERMAN.languages[code])}),
        "fr": Forms({"": french, "le": article}),
    }


def city(row: tuple[str, str, str]) -> Entry:
    """Return the name of a city; the French form ``de`` carries the preposition."""
    english, german, french = row
    return {
        "en": Forms({"": english}),
        "de": Forms({"": german}),
        "fr": Forms({"": french, "de": french_de(french)}),
    }
