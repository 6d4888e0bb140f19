"""Articles and endings: the forms of a noun, named after the masculine form they stand for.

In a German template ``{place:zum}`` gives "zum Bahnhof" or "zur Bank", in a French one
``{place:du}`` gives "du musée", "de la gare" or "de l'hôpital".
"""

from __future__ import annotations

from nmt_moe.corpus.phrasebook.template import Forms

# Form name -> the words for a masculine, feminine and neuter noun. Two columns of endings follow
# for an adjective between article and noun ("den roten Rock", "ein rotes Hemd").
GERMAN: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "der": ({"m": "der", "f": "die", "n": "das"}, {"m": "e", "f": "e", "n": "e"}),
    "den": ({"m": "den", "f": "die", "n": "das"}, {"m": "en", "f": "e", "n": "e"}),
    "dem": ({"m": "dem", "f": "der", "n": "dem"}, {"m": "en", "f": "en", "n": "en"}),
    "zum": ({"m": "zum", "f": "zur", "n": "zum"}, {"m": "en", "f": "en", "n": "en"}),
    "vom": ({"m": "vom", "f": "von der", "n": "vom"}, {"m": "en", "f": "en", "n": "en"}),
    "beim": ({"m": "beim", "f": "bei der", "n": "beim"}, {"m": "en", "f": "en", "n": "en"}),
    "im": ({"m": "im", "f": "in der", "n": "im"}, {"m": "en", "f": "en", "n": "en"}),
    "am": ({"m": "am", "f": "an der", "n": "am"}, {"m": "en", "f": "en", "n": "en"}),
    "dieser": ({"m": "dieser", "f": "diese", "n": "dieses"}, {"m": "e", "f": "e", "n": "e"}),
    "ein": ({"m": "ein", "f": "eine", "n": "ein"}, {"m": "er", "f": "e", "n": "es"}),
    "einen": ({"m": "einen", "f": "eine", "n": "ein"}, {"m": "en", "f": "e", "n": "es"}),
    "einem": ({"m": "einem", "f": "einer", "n": "einem"}, {"m": "en", "f": "en", "n": "en"}),
    "neuen": (
        {"m": "einen neuen", "f": "eine neue", "n": "ein neues"},
        {"m": "en", "f": "e", "n": "es"},
    ),
    "mein": ({"m": "mein", "f": "meine", "n": "mein"}, {"m": "er", "f": "e", "n": "es"}),
    "meinen": ({"m": "meinen", "f": "meine", "n": "mein"}, {"m": "en", "f": "e", "n": "es"}),
    "Ihr": ({"m": "Ihr", "f": "Ihre", "n": "Ihr"}, {"m": "er", "f": "e", "n": "es"}),
    "Ihren": ({"m": "Ihren", "f": "Ihre", "n": "Ihr"}, {"m": "en", "f": "e", "n": "es"}),
}

# French words whose h is silent for the article too; any other h blocks elision (la hanche).
SILENT_H = ("hôpital", "hôtel", "huile", "hébreu", "Helsinki")
VOWELS = "aàâeéèêëiîïoôuûùyœAÀÂEÉÈÊIÎOÔUÛÙYŒ"


def elides(word: str) -> bool:
    """Tell whether French "le", "la", "de" lose their vowel before ``word``."""
    return word[0] in VOWELS or word.startswith(SILENT_H)


def french_de(word: str) -> str:
    """Return "de word" or "d'word"."""
    return f"d'{word}" if elides(word) else f"de {word}"


def english_noun(noun: str) -> Forms:
    """Return the English forms: bare and ``a``."""
    article = "an" if noun[0] in "aeio" or noun.startswith(("umbrella", "uncle")) else "a"
    return Forms({"": noun, "a": f"{article} {noun}"})


def german_noun(gender: str, noun: str, adjective: str = "") -> Forms:
    """Return the singular German forms, with an optional adjective stem before the noun."""
    forms = Forms({"": noun})
    for name, (words, endings) in GERMAN.items():
        middle = f" {adjective}{endings[gender]}" if adjective else ""
        forms[name] = f"{words[gender]}{middle} {noun}"
    return forms


def french_noun(gender: str, noun: str) -> Forms:
    """Return the singular French forms; an adjective is part of ``noun`` and follows it."""
    elided = elides(noun)
    masculine = gender == "m"
    new = "une nouvelle" if not masculine else "un nouvel" if elided else "un nouveau"
    return Forms({
        "": noun,
        "de": french_de(noun),
        "le": f"l'{noun}" if elided else f"{'le' if masculine else 'la'} {noun}",
        "un": f"{'un' if masculine else 'une'} {noun}",
        "au": f"à l'{noun}" if elided else f"{'au' if masculine else 'à la'} {noun}",
        "du": f"de l'{noun}" if elided else f"{'du' if masculine else 'de la'} {noun}",
        "ce": f"{'cet' if masculine and elided else 'ce' if masculine else 'cette'} {noun}",
        "nouveau": f"{new} {noun}",
        "mon": f"{'mon' if masculine or elided else 'ma'} {noun}",
    })  # fmt: skip
