"""Templates and slots brought together: how many sentences a template has, and each of them."""

from __future__ import annotations

from math import prod

from nmt_moe.corpus.phrasebook import sampling
from nmt_moe.corpus.phrasebook.slots import SLOTS
from nmt_moe.corpus.phrasebook.template import (
    LANGUAGES,
    Entry,
    Template,
    Trilingual,
    sentence,
    slot_name,
)
from nmt_moe.corpus.phrasebook.templates_life import HEALTH, NUMBERS, TALK
from nmt_moe.corpus.phrasebook.templates_town import RESTAURANT, SHOPPING
from nmt_moe.corpus.phrasebook.templates_travel import HOTEL, TRAVEL
from nmt_moe.corpus.phrasebook.templates_work import OFFICE, TIME

TEMPLATES: list[Template] = [
    *TRAVEL, *HOTEL, *RESTAURANT, *SHOPPING, *OFFICE, *TIME, *HEALTH, *TALK, *NUMBERS,
]  # fmt: skip
SIZES = {name: len(slot) for name, slot in SLOTS.items()}
DOMAINS = tuple(dict.fromkeys(template.domain for template in TEMPLATES))


class Sentence(Trilingual):
    """A template with every field filled."""


def slots(template: Template) -> list[str]:
    """Return the slot of each field."""
    return [slot_name(field) for field in template.fields()]


def size(template: Template) -> int:
    """Return the number of sentences of a template."""
    return prod(sampling.choices(slots(template), SIZES))


def pick(template: Template, index: int) -> dict[str, Entry]:
    """Return the entries of the fields for sentence number ``index``, below ``size``."""
    names = slots(template)
    values = sampling.picked(names, SIZES, index)
    return {
        field: SLOTS[name].entry(value)
        for field, name, value in zip(template.fields(), names, values, strict=True)
    }


def render(template: Template, index: int) -> Sentence:
    """Return sentence number ``index`` of a template, below ``size``."""
    entries = pick(template, index)
    texts = {
        language: sentence(
            template.text(language).format_map(
                {field: entry[language] for field, entry in entries.items()}
            )
        )
        for language in LANGUAGES
    }
    return Sentence(template.domain, texts["en"], texts["de"], texts["fr"])


def pairs_available() -> int:
    """Return the number of English sentences there are, each with one target per language."""
    return sum(size(template) for template in TEMPLATES)
