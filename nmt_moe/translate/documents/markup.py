"""HTML: tags, attributes, comments, code and scripts stay.

The standard library's parser says where each tag is. lxml and html5lib do not: what they write is
another spelling of the file.
"""

import html
import re
from html.parser import HTMLParser
from itertools import accumulate, pairwise

from nmt_moe.translate.documents.parts import Document, Kind, Part, Unit, atom, text, with_atoms

# Elements within a sentence; any other begins or ends a text.
INLINE = frozenset(
    "a abbr acronym b bdi bdo big cite data del dfn em font i img ins label mark q rp rt ruby s "
    "small span strike strong sub sup time tt u wbr".split()
)
VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
CODE = frozenset("code kbd samp var".split())  # within a sentence, read by the model
_KEPT = frozenset("script style pre textarea svg math object iframe canvas audio video".split())
_ENTITY = re.compile(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*);?")
_UNTRANSLATED = re.compile(r"(?:^|\s)notranslate(?:\s|$)")


class _Places(HTMLParser):
    """Notes of tags, comments and texts: the start, kind, name, and whether the element stays."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=False)
        lines = source.split("\n")
        self._lines = [0, *accumulate(len(line) + 1 for line in lines)]
        self.found: list[tuple[int, str, str, bool]] = []
        # Only the places are asked for; an ampersand could make the parser wait for more.
        self.feed(source.replace("&", "+"))
        self.close()

    def _note(self, kind: str, name: str = "", kept: bool = False) -> None:
        line, column = self.getpos()
        self.found.append((self._lines[line - 1] + column, kind, name, kept))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        kept = given.get("translate", "").lower() == "no" or bool(
            _UNTRANSLATED.search(given.get("class", ""))
        )
        self._note("start", tag, kept or tag in _KEPT or tag in CODE)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note("single", tag)

    def handle_endtag(self, tag: str) -> None:
        self._note("end", tag)

    def handle_data(self, data: str) -> None:
        self._note("text")

    def handle_comment(self, data: str) -> None:
        self._note("other")

    def handle_decl(self, decl: str) -> None:
        self._note("other")

    def handle_pi(self, data: str) -> None:
        self._note("other")

    def unknown_decl(self, data: str) -> None:
        self._note("other")

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        return self.parse_bogus_comment(i)  # an old one raises


def hypertext(source: str) -> Document:
    """The texts between the tags of blocks are units."""
    found = _Places(source).found
    parts: list[Part] = []
    kept, depth, began = "", 0, 0  # an element that stays, its depth, and where it began
    ends = [(len(source), "", "", False)]
    for (start, kind, name, stays), (end, *_) in pairwise([(0, "text", "", False), *found, *ends]):
        raw = source[start:end]
        if kept:
            depth += (kind == "start" and name == kept) - (kind == "end" and name == kept)
            if depth and end < len(source):
                continue
            raw, name, kept = source[began:end], kept, ""
            if name in INLINE | CODE | {"svg"}:
                parts.append(atom(raw, "" if name == "svg" else _shown(raw)))
                continue
        elif stays and name not in VOID:
            kept, depth, began = name, 1, start
            if end < len(source):
                continue
        elif kind == "text":
            parts += _text(raw)
            continue
        elif kind == "other" or name in INLINE & VOID:
            parts.append(atom(raw))
            continue
        elif name in INLINE or "-" in name:
            if kind == "single":
                parts.append(atom(raw))
            else:
                parts.append(Part(Kind.OPEN if kind == "start" else Kind.CLOSE, raw, name=name))
            continue
        yield from unit(parts)
        parts = []
        yield raw
    yield from unit(parts)


def unit(parts: list[Part]) -> Document:
    if parts:
        yield Unit(with_atoms(parts), html_escape)


def html_escape(char: str) -> str:
    return html.escape(char, quote=False)


def _text(raw: str) -> list[Part]:
    parts, start = [], 0
    for match in _ENTITY.finditer(raw):
        meaning = html.unescape(match[0])
        if meaning != match[0]:
            parts += [text(raw[start : match.start()]), text(match[0], meaning)]
            start = match.end()
    return [part for part in [*parts, text(raw[start:])] if part.raw]


def _shown(raw: str) -> str:
    """The text of a piece of code."""
    return " ".join(html.unescape(re.sub(r"<[^<>]*>", "", raw)).split())
