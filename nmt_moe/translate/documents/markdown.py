"""Markdown: markup, code, addresses and tables' rules stay (CommonMark, tables and ~~deleted~~).

markdown-it-py parses; it says in which lines a block is, and which rule read which characters of a
block's text. A text that cannot be found in its lines stays as it is.
"""

import html
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from string import punctuation
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from nmt_moe.translate.documents.markup import CODE, VOID, hypertext
from nmt_moe.translate.documents.parts import Document, Kind, Part, Unit, atom, text, with_atoms

logging.getLogger("markdown_it").setLevel(logging.INFO)  # fairseq's log may show all it is given
_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n|$)")
_FRONT_MATTER = re.compile(r"(---|\+\+\+)[ \t]*\r?\n(?s:.*?)^(?:\1|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.M)
# Footnotes, boxes of tasks, notes, formulas, places for a generator's own content, and heads of
# its blocks: other than CommonMark's, but common.
_OTHERS = (
    r"\[\^[^\]\s]+\]:?|^\[[ xX]\](?=\s)|^\[![A-Z]+\]|\$\$[^$]+\$\$"
    r"|(?<!\w)\$[^\s$](?:[^$\n]*[^\s$])?\$(?!\w)"
    r"|\{\{.*?\}\}|\{%.*?%\}|\{[#.:][^{}]*\}|^:::.*|^(?:!!!|\?\?\?)\+? .*"
)
_MARKS_BLOCK = re.compile(
    r"#{1,6}(?:\s|$)|[-+*](?:\s|$)|\d{1,9}[.)](?:\s|$)|>|=+\s*$|-{2,}\s*$|```|~~~|:::|\||<|\[\^"
)
_ESCAPED = frozenset("\\`*_[]<~|")
_HTML_TAG = re.compile(r"<(/?)([A-Za-z][\w-]*)[^>]*?(/?)>")


@dataclass
class _Read:
    """Characters of a block's text that a rule has read."""

    start: int
    end: int
    rule: str
    tokens: list[Token]
    widths: list[int]
    label_end: int = 0
    inner: list["_Read"] = field(default_factory=list)


class _Reader:
    """Reads the text of a block and notes which rule has read what."""

    def __init__(self) -> None:
        self.parser = MarkdownIt("commonmark", {"maxNesting": 100})
        self.parser.enable(["table", "strikethrough"])
        self.parser.disable(["inline", "text_join", "fragments_join"])
        self._read: list[_Read] = []
        self._tokens: list[Token] = []
        for name, rule in _rules(self.parser):
            self.parser.inline.ruler.at(name, self._noting(name, rule))

    def __call__(self, content: str, env: Any) -> list[_Read]:
        self._read, self._tokens = [], []
        self.parser.inline.parse(content, self.parser, env, self._tokens)
        found: list[_Read] = []
        for read in sorted(self._read, key=lambda read: (read.start, -read.end)):
            into = found
            while into and into[-1].end > read.start:
                into = into[-1].inner
            into.append(read)
        return found

    def markup(self, env: Any, content: str) -> tuple[list[str], list[str]]:
        """The blocks in the text of a block, which is one, and the kinds of markup in it."""
        tokens: list[Token] = []
        self._tokens = []
        content = re.sub("\r\n?", "\n", content)
        self.parser.inline.parse(content, self.parser, env, tokens)
        blocks = [token.type for token in self.parser.parse(content)]
        return blocks, sorted(token.type for token in tokens if "text" not in token.type)

    def _noting(self, name: str, rule: Callable[..., bool]) -> Callable[..., bool]:
        def noting(state: StateInline, silent: bool) -> bool:
            start, there = state.pos, len(state.tokens)
            if not rule(state, silent):
                return False
            if not silent and state.tokens is self._tokens:
                tokens = state.tokens[there:]
                widths = [len(token.content) for token in tokens]
                if name in ("emphasis", "strikethrough"):  # the text before them may come first
                    while sum(widths) > state.pos - start:
                        del tokens[0], widths[0]
                read = _Read(start, state.pos, name, tokens, widths)
                if name == "link":
                    read.label_end = state.md.helpers.parseLinkLabel(state, start, True)
                self._read.append(read)
            return True

        return noting


def _rules(parser: MarkdownIt) -> list[tuple[str, Callable[..., bool]]]:
    names = parser.get_active_rules()["inline"]
    rules = parser.inline.ruler.getRules("")
    return [(name, rule) for name, rule in zip(names, rules, strict=True) if name != "text"]


def markdown(source: str) -> Document:
    """Paragraphs, headings, items and cells are units."""
    front = _FRONT_MATTER.match(source)
    begin = front.end() if front else 0
    lines = [match[0] for match in _LINE.finditer(source, begin) if match[0]]
    starts = [*accumulate(map(len, lines), initial=begin)]
    reader = _Reader()
    env: dict[str, Any] = {}
    done = 0
    cell_end = (0, 0)  # in a table: the line, and the column after the last cell
    tokens = reader.parser.parse(source[begin:], env)
    for before, token in pairwise([Token("", "", 0), *tokens]):
        if token.map is None or token.type not in ("inline", "html_block"):
            continue
        first, last = token.map
        if token.type == "html_block":
            if token.level == 0:
                yield source[done : starts[first]]
                done = starts[last]
                yield from hypertext(source[starts[first] : done])
            continue
        column = None
        if before.type in ("th_open", "td_open"):
            column = cell_end[1] if cell_end[0] == first else 0
        places = _places(token.content, lines[first:last], starts[first:last], column)
        if places is None:
            continue
        cell_end = (first, places[-1] - starts[first])
        yield source[done : places[0]]
        done = places[-1]
        content = _Content(token.content, places, source)
        for found in _units(content, reader(token.content, env)):
            if isinstance(found, str):
                yield found
            elif found:
                parts = with_atoms(_with_code(found), _OTHERS)
                yield Unit(parts, _escape, _MARKS_BLOCK, partial(reader.markup, env))
    yield source[done:]


def _escape(char: str) -> str:
    return f"\\{char}" if char in _ESCAPED else char


def _places(
    content: str, lines: Sequence[str], starts: Sequence[int], column: int | None
) -> list[int] | None:
    """Where in the source each character of a block's text is, and the text's end.

    A cell is looked for from a column on; any other text ends its lines, but for a heading's marks.
    """
    places: list[int] = []
    end = 0
    texts = content.split("\n")
    if not content or len(texts) > len(lines):
        return None
    for number, (one, line, start) in enumerate(zip(texts, lines, starts, strict=False)):
        said = one.lstrip(" \t")
        written = said if column is None else said.replace("|", "\\|")
        if column is not None and line.find(said, column) >= 0:
            written = said
        found = line.rfind(written) if column is None else line.find(written, column)
        if found < 0:
            return None
        if number:
            places.append(end)
        place = start + found
        places += [place] * (len(one) - len(said))
        for char in said:
            places.append(place)
            place += 2 if char == "|" and written is not said else 1
        end = place
    return [*places, end]


@dataclass(frozen=True)
class _Content:
    """The text of a block, and where each of its characters is in the source."""

    content: str
    places: list[int]
    source: str

    def raw(self, start: int, end: int) -> str:
        return self.source[self.places[start] : self.places[end]]

    def text(self, start: int, end: int) -> list[Part]:
        raw, said = self.raw(start, end), self.content[start:end]
        if raw == said:
            return [text(raw)] if raw else []
        return [text(self.raw(i, i + 1), self.content[i]) for i in range(start, end)]


def _units(content: _Content, reads: list[_Read]) -> Iterator[str | list[Part]]:
    """The parts of a block's text, cut at its hard line ends."""
    parts: list[Part] = []
    for part in _parts(content, reads, 0, len(content.content)):
        if part.kind is Kind.BREAK:
            yield parts
            yield part.raw
            parts = []
        else:
            parts.append(part)
    yield parts


def _parts(content: _Content, reads: list[_Read], start: int, end: int) -> Iterator[Part]:
    """The parts between two characters; a BREAK is a hard line end."""
    for read in reads:
        yield from content.text(start, read.start)
        yield from _part(content, read)
        start = read.end
    yield from content.text(start, end)


def _part(content: _Content, read: _Read) -> Iterator[Part]:
    raw = content.raw(read.start, read.end)
    said = content.content[read.start : read.end]
    if any(token.type == "hardbreak" for token in read.tokens):
        yield Part(Kind.BREAK, raw)
    elif read.rule == "newline":
        yield text(raw, " ")
    elif read.rule == "escape":  # a backslash before a letter is one
        yield from [text(raw, said[1:])] if said[1:] in punctuation else [text(raw)]
    elif read.rule == "entity":
        yield text(raw, html.unescape(said))
    elif read.rule in ("emphasis", "strikethrough"):
        yield from _delimiters(content, read)
    elif read.rule == "link":
        label_end = read.label_end
        yield Part(Kind.OPEN, content.raw(read.start, read.start + 1), name="link")
        yield from _parts(content, read.inner, read.start + 1, label_end)
        close, changed = content.raw(label_end, read.end), None
        if close in ("]", "][]"):  # the text is the name of the address
            changed = f"][{' '.join(content.content[read.start + 1 : label_end].split())}]"
        yield Part(Kind.CLOSE, close, name="link", changed=changed)
    elif read.rule == "backticks":
        code = [token.content for token in read.tokens if token.type == "code_inline"]
        yield atom(raw, " ".join(code[0].split())) if code else text(raw)
    elif read.rule == "html_inline":
        yield _tag(raw)
    else:  # pictures and addresses
        yield atom(raw)


def _delimiters(content: _Content, read: _Read) -> Iterator[Part]:
    """The marks of a row such as ``***``: each may begin or end something, or be text.

    Of the two of ``**`` the parser makes the inner one what both are, and empties the other.
    """
    place, outer, inner = read.start, "", ""
    for token, width in zip(read.tokens, read.widths, strict=True):
        raw = content.raw(place, place + width)
        place += width
        if token.type == "text" and token.content:
            yield text(raw)
        elif token.type == "strong_close":
            inner = raw
        elif token.type == "text" and inner:
            yield Part(Kind.CLOSE, inner + raw, name="strong")
            inner = ""
        elif token.type == "text":
            outer = raw
        else:
            name, _, side = token.type.partition("_")
            kind = Kind.OPEN if side == "open" else Kind.CLOSE
            yield Part(kind, outer + raw, name=name)
            outer = ""


def _tag(raw: str) -> Part:
    match = _HTML_TAG.fullmatch(raw)
    name = match[2].lower() if match else ""
    if name == "br":
        return Part(Kind.BREAK, raw)
    if not match or match[3] or name in VOID:
        return atom(raw)
    return Part(Kind.CLOSE if match[1] else Kind.OPEN, raw, name=f"<{name}")


def _with_code(parts: list[Part]) -> list[Part]:
    """What stands between the tags of code becomes an atom."""
    found: list[Part] = []
    for part in parts:
        found.append(part)
        begin = Part(Kind.OPEN, "", name=part.name)
        if part.kind is not Kind.CLOSE or part.name.removeprefix("<") not in CODE:
            continue
        for place in reversed(range(len(found))):
            if (found[place].kind, found[place].name) == (begin.kind, begin.name):
                inside = found[place:]
                code = "".join(one.text for one in inside)
                found[place:] = [atom("".join(one.raw for one in inside), code)]
                break
    return found
