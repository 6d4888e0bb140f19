"""The languages of a server: their names, which model translates between two, and detection."""

from collections.abc import Iterable, Iterator, Sequence
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


_NOTICEABLE, _SURE = 0.01, 0.8
"""Probabilities of a language: that are told, and that refuse a text where it is another one."""


def directions(models: Iterable[Model]) -> dict[Between, Model]:
    """Which model translates between two languages: the first one named that has not failed."""
    found: dict[Between, Model] = {}
    for model in models:
        for between in model.between:
            if between not in found or found[between].state == "failed" != model.state:
                found[between] = model
    return found


def warnings(models: Iterable[Model]) -> Iterator[str]:
    """A line for each direction of a model that another one, named before it, translates."""
    first: dict[Between, Model] = {}
    for model in models:
        for between in model.between:
            other = first.setdefault(between, model)
            if other is not model:
                pair = "-".join(between)
                yield (
                    f"warning: {model.name} translates {pair} only where {other.name} has failed: "
                    "the first one named translates"
                )


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
    """The answer of ``/detect``: the likely languages of all that can be told, the best first.

    Args:
        text: of any language.
        codes: of the models' languages, as they call them; a text without letters has the first.

    Raises:
        Refused: py3langid is not installed.
    """
    found = _ranked(text, codes) or [(code, 0.0) for code in codes[:1]]
    return [_likely(code, p) for code, p in found if p >= _NOTICEABLE or p == found[0][1]]


def spoken(text: str, sources: Sequence[str]) -> dict[str, Any]:
    """The language that a text is translated from, one of the models' source languages.

    Raises:
        Refused: it is surely in another one, or py3langid is not installed.
    """
    ranked = _ranked(text, sources)
    if ranked and ranked[0][0] not in sources and ranked[0][1] >= _SURE:
        code = ranked[0][0]
        error = f"no model translates from {english(code)} ({code}): "
        raise Refused(400, f"{error}choose from {', '.join(sources)}", "no_direction")
    return _likely(*next((one for one in ranked if one[0] in sources), (sources[0], 0.0)))


def _ranked(text: str, codes: Sequence[str]) -> list[tuple[str, float]]:
    """All languages with their probabilities; none for a text without letters."""
    if not detects():
        raise Refused(
            400,
            "this server cannot detect languages: pip install 'nmt-moe[langid]' lets it",
            "auto",
        )
    labels: dict[str, str] = {}
    for code in codes:
        for label in known.codes if (known := find(code)) else ():
            labels.setdefault(label, code)
    if not any(map(str.isalpha, text)):
        return []
    return [(labels.get(label, label), float(p)) for label, p in _identifier().rank(text)]


def _likely(code: str, p: float) -> dict[str, Any]:
    return {"language": code, "confidence": round(100 * p, 1)}
