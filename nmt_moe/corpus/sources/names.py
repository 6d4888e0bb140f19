"""Which of the names in a file, such as ``en-US``, ``deu``, ``German`` or ``Deutsch``, means a
language."""

from functools import cache, lru_cache

from babel import Locale, UnknownLocaleError

from nmt_moe.common.languages import find

_SIDES = (("source", "src"), ("target", "trg", "tgt"))


def is_language(name: str, wanted: str, other: str = "en") -> bool:
    """Whether a name is that of a language: a code, in any script or region, or a word for it.

    The word may be English, of the language itself or of the other one of a pair. The wanted one
    may be a code that nobody knows; then it has to be the same.
    """
    language, named = find(wanted), find(name.strip())
    if language is not None and named is not None:
        return named.code == language.code
    if plain(name) == plain(wanted):
        return True
    reader = find(other)
    readers = {"en", *(one.code for one in (language, reader) if one is not None)}
    return language is not None and any(plain(name) == _word(language.code, one) for one in readers)


@lru_cache(1000)
def choose(names: tuple[str, ...], wanted: str, other: str = "en") -> str | None:
    """The name of a language: its own code before one of its script, and that before any other."""
    alike = [name for name in names if is_language(name, wanted, other)]
    same = [name for name in alike if plain(name) == plain(wanted)]
    script = [name for name in alike if find(name) == find(wanted)]
    return next(iter([*same, *script, *alike]), None)


@lru_cache(1000)
def sides(names: tuple[str, ...], source: str, target: str) -> tuple[str | None, str | None]:
    """The names of the source and of the target: their languages, or words such as ``source``."""
    found = []
    for pair, words in zip(((source, target), (target, source)), _SIDES, strict=True):
        role = next((name for name in names if plain(name) in words), None)
        found.append(choose(names, *pair) or role)
    return found[0], found[1]


@cache
def _word(code: str, reader: str) -> str | None:
    """The word for a language in the language of a reader."""
    try:
        return plain(Locale(reader).languages.get(code) or "") or None
    except UnknownLocaleError:
        return None


def plain(name: str) -> str:
    """A name without the differences of how people write it."""
    return name.strip().lower().replace("_", "-")
