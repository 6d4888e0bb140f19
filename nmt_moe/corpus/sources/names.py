"""Which of the names in a file, such as ``en-US``, ``deu`` or ``German``, means a language."""

from functools import cache, lru_cache

from babel import Locale

from nmt_moe.common.languages import find

_SIDES = (("source", "src"), ("target", "trg", "tgt"))


def is_language(name: str, wanted: str) -> bool:
    """Whether a name is that of a language: a code, in any script or region, or its English name.

    The wanted one may be a code that nobody knows; then it has to be the same.
    """
    language, named = find(wanted), find(name.strip())
    if language is None or named is None:
        return plain(name) in (plain(wanted), language and _english(language.code))
    return named.code == language.code


@lru_cache(1000)
def choose(names: tuple[str, ...], wanted: str) -> str | None:
    """The name of a language: its own code before one of its script, and that before any other."""
    alike = [name for name in names if is_language(name, wanted)]
    same = [name for name in alike if plain(name) == plain(wanted)]
    script = [name for name in alike if find(name) == find(wanted)]
    return next(iter([*same, *script, *alike]), None)


@lru_cache(1000)
def sides(names: tuple[str, ...], source: str, target: str) -> tuple[str | None, str | None]:
    """The names of the source and of the target: their languages, or words such as ``source``."""
    found = []
    for wanted, words in zip((source, target), _SIDES, strict=True):
        other = next((name for name in names if plain(name) in words), None)
        found.append(choose(names, wanted) or other)
    return found[0], found[1]


@cache
def _english(code: str) -> str | None:
    return (Locale("en").languages.get(code) or "").lower() or None


def plain(name: str) -> str:
    """A name without the differences of how people write it."""
    return name.strip().lower().replace("_", "-")
