"""The languages of a server: their names, which model translates between two, and detection."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from babel import Locale, UnknownLocaleError

from nmt_moe.common.errors import UserError
from nmt_moe.common.languages import english, find, same
from nmt_moe.corpus.clean.language import identifier
from nmt_moe.serve.process import Between, Model
from nmt_moe.serve.settings import Refused

_LEFTWARD = {"Adlm", "Arab", "Aran", "Hebr", "Mand", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa"}
"""Scripts that run from right to left, of languages that live."""


@cache
def own_name(code: str) -> str:
    """The name of a language in itself, else in English, else its code."""
    known = find(code)
    if known is None:
        return code
    try:
        name = Locale.parse(known.code).get_display_name()
    except (UnknownLocaleError, ValueError):
        name = None
    return name[:1].upper() + name[1:] if name else english(code)


@cache
def leftward(code: str) -> bool:
    """Whether its script runs from right to left."""
    known = find(code)
    return known is not None and known.script in _LEFTWARD


def directions(models: Iterable[Model]) -> dict[Between, Model]:
    """Which model translates between two languages: the first one named that has not failed."""
    found: dict[Between, Model] = {}
    for model in models:
        for between in model.between:
            if between not in found or found[between].state == "failed" != model.state:
                found[between] = model
    return found


def listing(models: Iterable[Model]) -> list[dict[str, Any]]:
    """The answer of ``/languages``."""
    targets: dict[str, list[str]] = {}
    for source, target in directions(models):
        targets.setdefault(source, []).append(target)
    codes = dict.fromkeys([*targets, *(code for some in targets.values() for code in some)])
    return [
        {"code": code, "name": english(code), "targets": sorted(targets.get(code, []))}
        for code in codes
    ]


def choose(models: Sequence[Model], source: str, target: str) -> tuple[Between, Model]:
    """The direction that is meant, and its model.

    Raises:
        Refused: there is none.
    """
    known = directions(models)
    sources = dict.fromkeys(source for source, _ in known)
    meant = same(source, sources)
    if meant is None:
        _none(models, f"no model translates from {source!r}: choose from {', '.join(sources)}")
    targets = [other for one, other in known if one == meant]
    into = same(target, targets)
    if into is None:
        _none(
            models,
            f"no model translates from {meant} into {target!r}: choose from {', '.join(targets)}",
        )
    between = str(meant), str(into)
    return between, known[between]


def _none(models: Sequence[Model], error: str) -> None:
    failed = [model.error for model in models if model.state == "failed" and not model.between]
    if failed:
        raise Refused(503, failed[0], "unavailable", retry_after=5)
    raise Refused(400, error, "no_direction")


@cache
def _identifier() -> Any:
    return identifier()


def detects() -> bool:
    """Whether a language can be told from text."""
    try:
        _identifier()
    except UserError:
        return False
    return True


def detected(text: str, codes: Sequence[str]) -> list[dict[str, Any]]:
    """The answer of ``/detect``: the likely ones of these languages, the best first.

    Raises:
        Refused: py3langid is not installed.
    """
    if not detects():
        raise Refused(
            400,
            "this server cannot detect languages: pip install 'nmt-moe[langid]' lets it",
            "auto",
        )
    labels = {label: code for code in codes if (known := find(code)) for label in known.codes}
    ranked = [(labels[one], float(p)) for one, p in _identifier().rank(text) if one in labels]
    total = sum(p for _, p in ranked)
    if not ranked or not total or not any(map(str.isalpha, text)):
        return [{"language": code, "confidence": 0.0} for code in codes[:1]]
    best = [(code, round(100 * p / total, 1)) for code, p in ranked]
    return [{"language": code, "confidence": p} for code, p in best if p >= 1]
