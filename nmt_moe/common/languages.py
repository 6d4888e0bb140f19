"""Codes of languages as people write them: de, DE, deu, ger, de_DE.UTF-8, zh-TW, zho_Hant.

What codes there are, which of them are one language, and their scripts is CLDR's knowledge, which
Babel brings.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from babel import Locale
from babel.core import get_global

from nmt_moe.common.errors import UserError

# Whose words have no spaces between them.
_UNSPACED = "Hans Hant Hani Jpan Yiii Thai Laoo Khmr Mymr Tibt Tale Talu Lana Tavt Java".split()
_MODIFIERS = {"latin": "Latn", "cyrillic": "Cyrl", "devanagari": "Deva"}  # of the C library
# Of rules that are there for the wider language alone; CLDR does not say it of these.
_WIDER = {
    "nb": "no", "nn": "no", "fil": "tl", "pbt": "ps", "quy": "qu",
    **dict.fromkeys("acm acq aeb ajp apc ars ary arz".split(), "ar"),
    **dict.fromkeys("cdo gan hak hsn lzh nan wuu yue".split(), "zh"),
}  # fmt: skip


@dataclass(frozen=True)
class Language:
    """A language, and the script it is written in."""

    code: str
    """The shortest of ISO 639, such as ``de`` or ``yue``."""
    script: str
    """Of ISO 15924, such as ``Latn``."""

    @property
    def spaced(self) -> bool:
        """Whether there are spaces between its words."""
        return self.script not in _UNSPACED

    @property
    def codes(self) -> list[str]:
        """Its code, and that of the wider language whose rules it may have."""
        return [self.code, *filter(None, [_WIDER.get(self.code)])]


def language(text: str) -> Language:
    """The language that a code names.

    Raises:
        UserError: none does; says which it may have been.
    """
    found = find(text)
    if found is None:
        close = ", ".join(f"{code} ({_names()[code]})" for code in _close(text))
        hint = f"did you mean {close}?" if close else "use its code, such as de, deu or zh-Hant"
        raise UserError(f"there is no language '{text}': {hint}")
    return found


@cache
def find(text: str) -> Language | None:
    """The same, or None."""
    plain, _, modifier = text.partition("@")
    first, *others = re.split("[-_]", plain.partition(".")[0])
    code = first.lower()
    if others and re.fullmatch("[a-zA-Z]{3}", others[0]):  # zh-yue
        code = others.pop(0).lower()
    code, *own = get_global("language_aliases").get(code, code).split("_")
    likely = get_global("likely_subtags")
    if code not in likely or code == "und":
        return None
    subtags = [*others, *own]
    if not all(re.fullmatch("[a-zA-Z]{2,8}|[0-9][0-9a-zA-Z]{2,7}", subtag) for subtag in subtags):
        return None
    scripts = [subtag.title() for subtag in subtags if re.fullmatch("[a-zA-Z]{4}", subtag)]
    regions = [subtag.upper() for subtag in subtags if re.fullmatch("[a-zA-Z]{2}", subtag)]
    if modifier in _MODIFIERS:
        scripts.append(_MODIFIERS[modifier])
    place = next((likely[f"{code}_{region}"] for region in regions if f"{code}_{region}" in likely),
                 likely[code])  # fmt: skip
    return Language(code, [*scripts, place.split("_")[1]][0])


def same(wanted: str, known: Iterable[str]) -> str | None:
    """Which known code is meant: the same, or the only one of that language, or of its script.

    The known ones need not be codes of languages.
    """
    codes = list(known)
    if wanted in codes:
        return wanted
    asked = find(wanted)
    alike = {code: found for code in codes if (found := find(code)) and asked
             and found.code == asked.code}  # fmt: skip
    if len(alike) > 1:
        alike = {code: found for code, found in alike.items() if found == asked}
    return next(iter(alike)) if len(alike) == 1 else None


def english(code: str) -> str:
    """The English name of a language, and the code where it has none."""
    found = find(code)
    return _names().get(found.code, code) if found else code


@cache
def _names() -> dict[str, str]:
    """The English names of the languages, by their codes."""
    names = Locale("en").languages
    return {code: name for code, name in names.items() if code in get_global("likely_subtags")}


def _close(text: str) -> list[str]:
    """Codes that may have been meant: by the name, the country, or the letters."""
    named = {name.lower(): code for code, name in _names().items()}
    word = text.lower()
    if word in named:
        return [named[word]]
    spoken = get_global("likely_subtags").get(f"und_{text.upper()}", "").split("_")[0]
    if spoken in _names() or len(word) < 4:
        return [spoken] if spoken else []
    return [named[name] for name in difflib.get_close_matches(word, named, n=3, cutoff=0.7)]
