"""The phrasebook corpus: right grammar, no repeats, the same files every time."""

from __future__ import annotations

import datetime as dt
import os
import random
import subprocess
import sys
import unicodedata
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.phrasebook import calendar, countries, labels, numbers, pairs
from nmt_moe.corpus.phrasebook.__main__ import main
from nmt_moe.corpus.phrasebook.files import contents, write
from nmt_moe.corpus.phrasebook.generate import build
from nmt_moe.corpus.phrasebook.render import (
    DOMAINS,
    SIZES,
    TEMPLATES,
    Sentence,
    pairs_available,
    pick,
    render,
    size,
    slots,
)
from nmt_moe.corpus.phrasebook.sampling import choices, part, shares, shuffled
from nmt_moe.corpus.phrasebook.slots import SLOTS
from nmt_moe.corpus.phrasebook.template import LANGUAGES, slot_name, tidy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Sentence]]:
    """A corpus of middling size."""
    return build(train=8000, valid=300, test=600, seed=1)


def everything(splits: dict[str, list[Sentence]]) -> list[Sentence]:
    """The sentences of all splits together."""
    return [sentence for sentences in splits.values() for sentence in sentences]


def test_at_least_sixty_templates_in_eight_domains() -> None:
    assert len(TEMPLATES) >= 60
    assert len({template.en for template in TEMPLATES}) == len(TEMPLATES)
    assert len(DOMAINS) >= 8


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.en)
def test_every_template_renders_in_every_language(template) -> None:
    fields = set(template.fields("en"))
    assert {slot_name(field) for field in fields} <= set(SLOTS)
    rng = random.Random(template.en)
    for language in LANGUAGES:
        assert set(template.fields(language)) == fields
    for index in [0, size(template) - 1, *(rng.randrange(size(template)) for _ in range(20))]:
        sentence = render(template, index)
        for language in LANGUAGES:
            text = sentence.text(language)
            assert not set("{}") & set(text)
            assert text[0].isupper() or text[0].isdigit()
            assert text[-1] in ".?"
            assert text == tidy(text)
            assert ("?" in text) == ("?" in sentence.en)


def test_french_has_a_space_before_tall_punctuation(splits) -> None:
    for sentence in everything(splits):
        for mark in "?!":
            assert sentence.fr.count(mark) == sentence.fr.count(" " + mark)
            assert " " + mark not in sentence.de + sentence.en


@pytest.mark.parametrize("name", SLOTS)
def test_no_two_values_of_a_slot_look_alike_in_english(name) -> None:
    slot = SLOTS[name]
    values = range(len(slot)) if len(slot) < 3000 else range(0, len(slot), 7)
    forms = [tuple(slot.entry(index)["en"].items()) for index in values]
    assert len(set(forms)) == len(forms)


@pytest.mark.parametrize("number", [20_000, pytest.param(101_000, marks=pytest.mark.slow)])
def test_a_hundred_thousand_distinct_pairs_for_each_target(number: int) -> None:
    assert pairs_available() >= 100_000
    targets: dict[str, tuple[str, str]] = {}
    drawn = 0
    for template, quota in zip(
        TEMPLATES, shares(number, [size(template) for template in TEMPLATES]), strict=True
    ):
        for index in islice(shuffled(size(template), random.Random(template.en)), quota):
            sentence = render(template, index)
            drawn += 1
            assert targets.setdefault(sentence.en, (sentence.de, sentence.fr)) == (
                sentence.de,
                sentence.fr,
            )
    # As many English sides as draws: the count of pairs available is not inflated by repeats.
    assert len(targets) == drawn == number
    assert len({(en, de) for en, (de, _) in targets.items()}) == number
    assert len({(en, fr) for en, (_, fr) in targets.items()}) == number


def test_splits_have_the_sizes_asked_for_and_share_no_english(splits) -> None:
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 8000,
        "valid": 300,
        "test": 600,
    }
    english = [sentence.en for sentence in everything(splits)]
    assert len(set(english)) == len(english)


def test_every_domain_is_in_every_split(splits) -> None:
    for sentences in splits.values():
        assert {sentence.domain for sentence in sentences} == set(DOMAINS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_of_valid_and_test_occur_in_train(splits, language) -> None:
    def words(split: str) -> set[str]:
        plain = [word for sentence in splits[split] for word in sentence.text(language).split()]
        return set(plain) | {word.strip(".,;:?!'") for word in plain}

    assert words("valid") <= words("train")
    assert words("test") <= words("train")


@settings(max_examples=8)
@given(st.integers(min_value=-(2**40), max_value=2**40))
def test_words_are_covered_for_any_seed_even_in_a_small_corpus(seed) -> None:
    small = build(train=600, valid=30, test=30, seed=seed)
    for language in LANGUAGES:
        known = {word for item in small["train"] for word in item.text(language).split()}
        for item in small["valid"] + small["test"]:
            assert set(item.text(language).split()) <= known


def test_text_is_normalised(splits) -> None:
    for sentence in everything(splits):
        for language in LANGUAGES:
            text = sentence.text(language)
            assert unicodedata.is_normalized("NFC", text)
            assert text == " ".join(text.split())
            for char in text:
                assert char == " " or unicodedata.category(char)[0] not in "ZC", repr(text)


def command(out: Path, hash_seed: str, *extra: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "nmt_moe.corpus.phrasebook", "--out", str(out), *extra],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "LC_ALL": "C", "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_same_seed_gives_the_same_bytes_in_any_process(tmp_path, capsys) -> None:
    sizes = ("--train", "400", "--valid", "20", "--test", "30", "--target", "fr")
    other = command(tmp_path / "a", "2", *sizes)
    assert other.returncode == 0, other.stderr
    assert main([*sizes, "--out", str(tmp_path / "b")]) == 0
    assert other.stdout.replace("/a/", "/b/") == capsys.readouterr().out
    assert "pairs available: " in other.stdout
    names = sorted(path.name for path in (tmp_path / "a" / "en-fr").iterdir())
    assert names == sorted(
        f"{split}.{kind}" for split in ("train", "valid", "test") for kind in ("en", "fr", "domain")
    )
    for name in names:
        data = (tmp_path / "a" / "en-fr" / name).read_bytes()
        assert data == (tmp_path / "b" / "en-fr" / name).read_bytes()
        wanted = {"train": 400, "valid": 20, "test": 30}[name.split(".")[0]]
        assert data.count(b"\n") == wanted and data.endswith(b"\n")


def test_the_seed_matters_and_the_target_does_not_change_the_english() -> None:
    one, again, two = (build(300, 10, 10, seed) for seed in (1, 1, 2))
    assert one == again != two
    assert contents(one, "de")["test.en"] == contents(one, "fr")["test.en"]


def test_unknown_language_is_one_clear_line(tmp_path, capsys) -> None:
    assert main(["--target", "xx", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "error: unknown target language 'xx': choose de or fr\n"
    assert not list(tmp_path.iterdir())


def test_too_many_pairs_says_how_many_there_are(tmp_path, capsys) -> None:
    code = main(["--target", "de", "--train", "1000000000", "--out", str(tmp_path)])
    error = capsys.readouterr().err
    assert code == 1
    assert error.count("\n") == 1
    assert f"only {pairs_available()} are available" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sizes", [(0, 1, 1), (5, -1, 5), (1, 200, 200)])
def test_sizes_that_cannot_be_met_are_refused(sizes) -> None:
    with pytest.raises(UserError):
        build(*sizes, seed=1)


def test_a_failed_write_leaves_the_old_files(tmp_path) -> None:
    write({"train.en": "old\n", "train.de": "alt\n"}, tmp_path)
    with pytest.raises(TypeError):
        write({"train.en": "new\n", "train.de": None}, tmp_path)  # type: ignore[dict-item]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "train.en": "old\n",
        "train.de": "alt\n",
    }


@given(st.integers(min_value=0, max_value=400), st.integers())
def test_shuffled_yields_every_number_once(count, seed) -> None:
    assert sorted(shuffled(count, random.Random(seed))) == list(range(count))


@given(st.lists(st.integers(min_value=0, max_value=50), min_size=1), st.data())
def test_shares_and_parts_add_up_and_stay_under_their_caps(caps, data) -> None:
    total = data.draw(st.integers(min_value=0, max_value=sum(caps)))
    given_out = shares(total, caps)
    assert sum(given_out) == total
    assert all(got <= cap for got, cap in zip(given_out, caps, strict=True))
    if total:
        wanted = data.draw(st.integers(min_value=0, max_value=total))
        taken = part(given_out, wanted)
        assert sum(taken) == wanted
        assert all(0 <= got <= quota for got, quota in zip(taken, given_out, strict=True))


@given(st.data())
def test_a_repeated_slot_draws_different_values(data) -> None:
    repeated = [item for item in TEMPLATES if any(f[-1].isdigit() for f in item.fields())]
    template = data.draw(st.sampled_from(repeated))
    entries = pick(template, data.draw(st.integers(0, size(template) - 1)))
    for field, entry in entries.items():
        if field != slot_name(field):
            assert entry["en"] != entries[slot_name(field)]["en"]


def example(english: str, **wanted: str) -> Sentence:
    """Render the template with this English text; ``wanted`` names each field's English form."""
    (template,) = (item for item in TEMPLATES if item.en == english)
    used: dict[str, list[int]] = {}
    index, scale = 0, 1
    for field, count in zip(template.fields(), choices(slots(template), SIZES), strict=True):
        slot = SLOTS[slot_name(field)]
        value = next(
            number
            for number in range(len(slot))
            if wanted[field] in slot.entry(number)["en"].values()
        )
        earlier = used.setdefault(slot_name(field), [])
        index += scale * (value - sum(other < value for other in earlier))
        scale *= count
        earlier.append(value)
    return render(template, index)


GOLDEN = [
    (
        ("How do I get from the {place} to the {place2}?", {"place": "bank", "place2": "airport"}),
        "Wie komme ich von der Bank zum Flughafen?",
        "Comment aller de la banque à l'aéroport ?",
    ),
    (
        (
            "Next year I would like to travel {country:to} for {few} weeks.",
            {"country": "United States", "few": "three"},
        ),
        "Nächstes Jahr möchte ich für drei Wochen in die Vereinigten Staaten reisen.",
        "L'année prochaine, je voudrais aller aux États-Unis pour trois semaines.",
    ),
    (
        (
            "My name is {name}, and I come {country:from}.",
            {"name": "Anna", "country": "Switzerland"},
        ),
        "Ich heiße Anna und komme aus der Schweiz.",
        "Je m'appelle Anna et je viens de Suisse.",
    ),
    (
        (
            "The {transport} to {city} leaves at {departure}.",
            {"transport": "train", "city": "Vienna", "departure": "3:05 PM"},
        ),
        "Der Zug nach Wien geht um 15:05 Uhr.",
        "Le train pour Vienne part à 15:05.",
    ),
    (
        ("Today is {date:full}.", {"date": "Sunday, March 1, 2026"}),
        "Heute ist Sonntag, der 1. März 2026.",
        "Nous sommes le dimanche 1er mars 2026.",
    ),
    (
        (
            "The course starts on {date:full}, at {time}.",
            {"date": "Friday, August 14, 2026", "time": "9:15 AM"},
        ),
        "Der Kurs beginnt am Freitag, dem 14. August 2026, um 09:15 Uhr.",
        "Le cours commence le vendredi 14 août 2026 à 09:15.",
    ),
    (
        (
            "{name} moved to {city} {span:ago}.",
            {"name": "Paul", "city": "London", "span": "3 days ago"},
        ),
        "Paul ist vor 3 Tagen nach London gezogen.",
        "Paul a emménagé à Londres il y a 3 jours.",
    ),
    (
        ("I have had {symptom} for {stay}.", {"symptom": "a fever", "stay": "1 day"}),
        "Ich habe seit 1 Tag Fieber.",
        "J'ai de la fièvre depuis 1 jour.",
    ),
    (
        (
            "I am looking for {garment:a} in size {size}.",
            {"garment": "a white skirt", "size": "38"},
        ),
        "Ich suche einen weißen Rock in Größe 38.",
        "Je cherche une jupe blanche en taille 38.",
    ),
    (
        ("I need {weight} of {grocery}.", {"weight": "1.5 kilograms", "grocery": "oranges"}),
        "Ich brauche 1,5 Kilogramm Orangen.",
        "J'ai besoin de 1,5 kilogramme d'oranges.",
    ),
    (
        (
            "Where can I change {money} in {city}?",
            {"money": "50 Canadian dollars", "city": "Basel"},
        ),
        "Wo kann ich in Basel 50 kanadische Dollar wechseln?",
        "Où puis-je changer 50 dollars canadiens à Bâle ?",
    ),
    (
        (
            "A ticket to {city} costs {price}.",
            {"city": "Cologne", "price": "€12.50"},
        ),
        "Eine Fahrkarte nach Köln kostet 12,50 €.",
        "Un billet pour Cologne coûte 12,50 €.",
    ),
    (
        (
            "{name} finished in {ordinal} place, and {name2} in {ordinal2} place.",
            {"name": "Max", "ordinal": "third", "name2": "Eva", "ordinal2": "second"},
        ),
        "Max belegte den dritten Platz und Eva den zweiten Platz.",
        "Max a pris la troisième place et Eva la deuxième place.",
    ),
    (
        (
            "How do you say {number} in {tongue}?",
            {"number": "ninety-one", "tongue": "German"},
        ),
        "Wie sagt man einundneunzig auf Deutsch?",
        "Comment dit-on quatre-vingt-onze en allemand ?",
    ),
    (
        ("I have been learning {tongue} for {span}.", {"tongue": "English", "span": "2 years"}),
        "Ich lerne seit 2 Jahren Englisch.",
        "J'apprends l'anglais depuis 2 ans.",
    ),
    (
        ("{name} speaks {tongues}.", {"name": "Eva", "tongues": "German, English, and French"}),
        "Eva spricht Deutsch, Englisch und Französisch.",
        "Eva parle allemand, anglais et français.",
    ),
    (
        (
            "Please send the {paper} to {person} by {weekday}.",
            {"paper": "invoice", "person": "Mr. Weber", "weekday": "Friday"},
        ),
        "Bitte schicken Sie die Rechnung bis Freitag an Herrn Weber.",
        "Envoyez la facture à M. Weber d'ici vendredi, s'il vous plaît.",
    ),
    (
        (
            "We need {few} chairs and a new {device} for the office.",
            {"few": "four", "device": "computer"},
        ),
        "Wir brauchen vier Stühle und einen neuen Computer für das Büro.",
        "Il nous faut quatre chaises et un nouvel ordinateur pour le bureau.",
    ),
    (
        (
            "On {weekday} it will {weather} in {city}.",
            {"weekday": "Monday", "weather": "rain", "city": "Athens"},
        ),
        "Am Montag wird es in Athen regnen.",
        "Lundi, il va pleuvoir à Athènes.",
    ),
]


@pytest.mark.parametrize(("source", "german", "french"), GOLDEN, ids=lambda item: str(item)[:40])
def test_hand_checked_sentences(source, german, french) -> None:
    sentence = example(source[0], **source[1])
    assert (sentence.de, sentence.fr) == (german, french)


def test_spans_keep_the_unit_they_were_made_with() -> None:
    spans = numbers.SHORT_SPANS + numbers.TRIP_SPANS + numbers.DAY_SPANS + numbers.LONG_SPANS
    for name, number in spans:
        forms = numbers.span((name, number))["en"]
        assert forms["in"] == f"in {forms['']}"
        assert forms[""].startswith(f"{number} {name}")


def test_lists_of_languages_and_countries_have_no_repeats() -> None:
    assert len(set(countries.COUNTRIES)) == len(countries.COUNTRIES) >= 60
    assert len(set(countries.TONGUES)) == len(countries.TONGUES)


@pytest.mark.parametrize(
    ("code", "french"),
    [
        ("FR", {"in": "en France", "from": "de France", "le": "la France"}),
        ("PT", {"in": "au Portugal", "from": "du Portugal", "le": "le Portugal"}),
        ("IT", {"in": "en Italie", "from": "d'Italie", "le": "l'Italie"}),
        ("NL", {"in": "aux Pays-Bas", "from": "des Pays-Bas", "le": "les Pays-Bas"}),
        ("HU", {"in": "en Hongrie", "from": "de Hongrie", "le": "la Hongrie"}),
        ("IL", {"in": "en Israël", "from": "d'Israël", "le": "Israël"}),
        ("CU", {"in": "à Cuba", "from": "de Cuba", "le": "Cuba"}),
        ("DK", {"in": "au Danemark", "from": "du Danemark", "le": "le Danemark"}),
    ],
)
def test_french_prepositions_of_countries(code, french) -> None:
    forms = countries.country(code)["fr"]
    assert {name: forms[name] for name in french} == french


@pytest.mark.parametrize(
    ("slot", "english", "form", "german", "french"),
    [
        ("device", "loudspeaker", ("einen", "le"), "einen Lautsprecher", "le haut-parleur"),
        ("body", "hip", ("der", "au"), "die Hüfte", "à la hanche"),
        ("place", "hospital", ("zum", "au"), "zum Krankenhaus", "à l'hôpital"),
        ("drink", "mineral water", ("ein", "mon"), "ein Mineralwasser", "mon eau minérale"),
        ("paper", "list", ("im", "ce"), "in der Liste", "cette liste"),
        ("paper", "offer", ("dieser", "du"), "dieses Angebot", "de l'offre"),
        ("garment", "brown umbrella", ("dem", "un"), "dem braunen Regenschirm",
         "un parapluie marron"),
        ("garment", "green scarf", ("ein", "le"), "ein grüner Schal", "l'écharpe verte"),
    ],
)  # fmt: skip
def test_forms_of_nouns(slot, english, form, german, french) -> None:
    entries = (SLOTS[slot].entry(index) for index in range(len(SLOTS[slot])))
    entry = next(entry for entry in entries if entry["en"][""] == english)
    assert (entry["de"][form[0]], entry["fr"][form[1]]) == (german, french)


def test_midnight_and_noon_are_unlike() -> None:
    times = [calendar.clock(time)["en"][""] for time in calendar.TRAIN_TIMES]
    assert len(set(times)) == len(times)


def test_tidy_keeps_only_ordinary_spaces() -> None:
    assert (
        tidy("12,50\u00a0€ \u202f\u2009x\u200b\u200e e\u0301 l\u2019eau\n") == "12,50 € x é l'eau"
    )


@pytest.mark.parametrize("language", labels.LANGUAGES)
def test_babel_has_every_name_of_a_label_in(language) -> None:
    """Where CLDR has no name, Babel shows a code, or the English pattern with a sign."""
    for slot, (values, _) in labels.SLOTS.items():
        if slot == "spelled" and language not in labels.SPELLED:
            continue
        step = max(1, len(values) // 40)
        texts = [labels.written(slot, value, language) for value in range(0, len(values), step)]
        for value, text in zip(values[::step], texts, strict=True):
            assert text == tidy(text) != ""
            if slot in ("unit", "money"):
                assert value[1] not in text
            if slot in ("territory", "tongue"):
                assert text != value
            if slot == "ahead":
                assert not text.startswith(("+", "-"))
        if slot in ("territory", "tongue", "weekday", "full date", "long date", "day", "month"):
            assert len(set(texts)) == len(texts)
            assert language == "en" or texts != [
                labels.written(slot, value, "en") for value in range(0, len(values), step)
            ]


def needs_zero_width_characters(language: str) -> bool:
    """Whether CLDR spells anything of the labels with them."""
    return any(
        mark in str(write(values[value], language))
        for slot, (values, write) in labels.SLOTS.items()
        if slot != "spelled"
        for value in range(0, len(values), max(1, len(values) // 40))
        for mark in "\u200c\u200d"
    )


def test_no_label_loses_the_zero_width_characters_of_its_language() -> None:
    assert needs_zero_width_characters("kn")
    assert [code for code in labels.LANGUAGES if needs_zero_width_characters(code)] == []


def label(kind: int, language: str, *values: object) -> str:
    """The label of a kind with these values."""
    chosen = labels.KINDS[kind]
    index, scale = 0, 1
    used: dict[str, list[int]] = {}
    counts = choices(chosen.slots, labels.SIZES)
    for slot, count, value in zip(chosen.slots, counts, values, strict=True):
        place = list(labels.SLOTS[slot][0]).index(value)
        earlier = used.setdefault(slot, [])
        index += scale * (place - sum(other < place for other in earlier))
        scale *= count
        earlier.append(place)
    return chosen.text(index, language)


MAY_1, AUGUST_14 = dt.date(2026, 5, 1), dt.date(2026, 8, 14)
THREE_PM = dt.time(15, 5)
LABELS = [
    (0, ("JP", "FR", "DE"), "en", "Japan, France, and Germany"),
    (0, ("JP", "FR", "DE"), "es", "Japón, Francia y Alemania"),
    (0, ("JP", "FR", "DE"), "ja", "日本、フランス、ドイツ"),
    (0, ("JP", "FR", "DE"), "zh", "日本、法国和德国"),
    (2, ((20, "length-kilometer"), (Decimal("1.5"), "volume-liter"), (3, "duration-day")), "pt",
     "20 quilômetros, 1,5 litro e 3 dias"),
    (3, (21, 2, 42), "fr", "vingt et un, deux et quarante-deux"),
    (3, (21, 2, 42), "sv", "tjugoett, två och förtiotvå"),
    (4, ((50, "USD"), (20, "CAD")), "de", "50 US-Dollar und 20 kanadische Dollar"),
    (5, ("de", "CH", "fr", "BE"), "it", "tedesco (Svizzera), francese (Belgio)"),
    (6, ("PL", AUGUST_14, THREE_PM), "nl", "Polen: vrijdag 14 augustus 2026, 15:05"),
    (7, (MAY_1, AUGUST_14), "fr", "1er mai 2026 – 14 août 2026"),
    (7, (MAY_1, AUGUST_14), "pl", "1 maja 2026 – 14 sierpnia 2026"),
    (9, (dt.date(2010, 3, 1), "ES", (100, "SEK")), "pl",
     "marzec 2010: Hiszpania (100 koron szwedzkich)"),
    (11, (("day", 3), 0, THREE_PM), "es", "dentro de 3 días (lunes, 15:05)"),
    (11, (("day", 3), 0, THREE_PM), "da", "om 3 dage (mandag, 15.05)"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "values", "language", "wanted"), LABELS)
def test_hand_checked_labels(kind, values, language, wanted) -> None:
    assert label(kind, language, *values) == wanted


def test_words_are_the_pairs_that_they_ask_for() -> None:
    assert pairs.expand(["de", "en-de", "fr-pl"]) == ["en-de", "de-en", "fr-pl"]
    assert pairs.expand(["deu", "EN-de_DE", "pt-BR"]) == ["en-de", "de-en", "en-pt", "pt-en"]
    for words, wrong in (
        (["xx"], "no language 'xx': choose from af "),
        (["en"], "en-en"),
        (["de-"], "no language ''"),
        (["de-fr-es"], "no language 'fr-es'"),
    ):
        with pytest.raises(UserError, match=wrong):
            pairs.expand(words)


def splits_of_sentences(found: dict[str, dict[str, pairs.Texts]]) -> dict[tuple, set[str]]:
    """In which splits a text of a language is, of whatever pair."""
    where: dict[tuple[str, str], set[str]] = {}
    for pair, splits in found.items():
        for split, texts in splits.items():
            for sentences in texts:
                for key in zip(pair.split("-"), sentences, strict=True):
                    where.setdefault(key, set()).add(split)
    return where


@settings(max_examples=10)
@given(
    st.lists(st.sampled_from("de-pl es-en en-zh zh-es".split()), min_size=2, unique=True),
    st.tuples(st.integers(1, 300), st.integers(1, 20), st.integers(1, 20)),
    st.integers(0, 2**40),
)
def test_no_pair_trains_on_what_another_is_tested_on(wanted, sizes, seed) -> None:
    found = dict(pairs.build_pairs(wanted, *sizes, seed))
    for splits in found.values():
        assert [len(splits[split]) for split in ("train", "valid", "test")] == list(sizes)
    assert all(len(where) == 1 for where in splits_of_sentences(found).values())


def test_nor_in_pairs_that_have_sentences_too() -> None:
    found = dict(pairs.build_pairs(["en-de", "de-fr", "fr-es", "es-en"], 1200, 40, 80, 1))
    assert all(len(where) == 1 for where in splits_of_sentences(found).values())


def test_a_label_says_the_same_in_every_pair_and_is_in_one_split() -> None:
    found = dict(pairs.build_pairs(["en-es", "pl-en"], 400, 40, 60, 1))
    for split in ("train", "valid", "test"):
        english = {source for source, _ in found["en-es"][split]}
        assert english == {target for _, target in found["pl-en"][split]}
        assert len(english) == {"train": 400, "valid": 40, "test": 60}[split]


def test_english_german_and_french_are_half_sentences() -> None:
    found = dict(pairs.build_pairs(["de-fr", "de-es"], 1000, 10, 20, 1))
    sentences = build(500, 5, 10, 1)
    for split, drawn in sentences.items():
        wanted = {(item.de, item.fr) for item in drawn}
        assert wanted < set(found["de-fr"][split]) and len(found["de-fr"][split]) == 2 * len(wanted)
        assert not {german for german, _ in wanted} & {
            german for german, _ in found["de-es"][split]
        }


def test_the_pairs_are_the_same_bytes_in_any_process(tmp_path, capsys) -> None:
    asked = ["--train", "40", "--valid", "9", "--test", "5", "--pairs", "es", "en-ja"]
    done = command(tmp_path / "there", "2", *asked)
    assert done.returncode == 0, done.stderr
    assert main([*asked, "--out", str(tmp_path / "here")]) == 0
    assert done.stdout.replace("/there/", "/here/") == capsys.readouterr().out
    assert done.stdout.count("train 40, valid 9, test 5 pairs") == 3
    names = [path.relative_to(tmp_path / "here") for path in tmp_path.glob("here/*/*")]
    assert {str(name) for name in names} == {
        f"{pair}/{split}.{language}"
        for pair in ("en-es", "es-en", "en-ja")
        for split in ("train", "valid", "test")
        for language in pair.split("-")
    }
    for name in names:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_a_pair_with_an_unknown_language_is_one_line(tmp_path, capsys) -> None:
    assert main(["--pairs", "en-qq", "--out", str(tmp_path)]) == 1
    assert main(["--pairs", "en-es", "--test", "0", "--out", str(tmp_path)]) == 1
    assert main(["--pairs", "en-es", "--train", "9000000", "--out", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and "no language 'qq'" in lines[0] and " zu" in lines[0]
    assert "at least 1" in lines[1] and "ask for fewer pairs" in lines[2]
    assert not list(tmp_path.iterdir())
