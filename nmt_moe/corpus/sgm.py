"""Parse the SGM files of WMT's development and test sets: one line of text per ``<seg>``.

SGM is neither XML nor HTML. Like WMT's own scripts, the parser reads only the tags ``<doc>`` and
``<seg>``. It unescapes entities once, and only those with a semicolon: ``AT&T`` and ``R&Dnot`` stay
as they are.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from nmt_moe.common.errors import UserError

# These expressions take linear time on damaged files, too.
_TAG = re.compile(r"<doc\b([^<>]*)>|<seg\b([^<>]*)(?:>|(?=<)|\Z)|</seg\s*>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]*);", re.IGNORECASE)
_LINE_END = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


@dataclass(frozen=True)
class Segment:
    """A segment: its document, its number there, and its text as one line."""

    document: str
    number: str
    text: str


def segments(content: bytes, name: str) -> list[Segment]:
    """Parse a file into its segments.

    A line break within a segment becomes one space, together with the whitespace around it. The
    segment is stripped; other whitespace stays.

    Args:
        content: the bytes of the file, in UTF-8.
        name: the name of the file, for error messages.

    Raises:
        UserError: the file is not UTF-8, has no segment, or has a segment without an end tag.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not valid UTF-8, at byte {error.start + 1}") from None
    found = list(_segments(text, name))
    if not found:
        raise UserError(f"{name} has no <seg>")
    return found


def _segments(text: str, name: str) -> Iterator[Segment]:
    document = number = ""
    start: int | None = None  # where the text of an open segment begins
    for tag in _TAG.finditer(text):
        if tag[2] is not None:
            if start is not None:
                raise UserError(f"{name}: a <seg> has no end, at segment {number} of '{document}'")
            start, number = tag.end(), _attribute(tag[2], "id")
        elif tag[1] is None:
            if start is not None:
                yield Segment(document, number, _line(text[start : tag.start()]))
            start = None
        elif start is None:
            document = _attribute(tag[1], "docid")
    if start is not None:
        raise UserError(f"{name}: the last <seg> has no end")


def _line(text: str) -> str:
    decoded = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    return " ".join(filter(None, map(str.strip, _LINE_END.split(decoded))))


def pairs(source: tuple[str, bytes], target: tuple[str, bytes]) -> list[tuple[str, str]]:
    """Align the segments of a source and a target file, which must have the same documents.

    Args:
        source: the name of the source file, for error messages, and its bytes.
        target: the same of the target file.

    Returns:
        The source and the target line of each segment.

    Raises:
        UserError: a file is damaged, or their documents or segments differ.
    """
    sources, targets = segments(source[1], source[0]), segments(target[1], target[0])
    both = f"{source[0]} and {target[0]}"
    for count, (one, other) in enumerate(zip(sources, targets, strict=False), 1):
        if (one.document, one.number) != (other.document, other.number):
            raise UserError(
                f"{both} do not match: segment {count} is {one.number} of '{one.document}' "
                f"in one, {other.number} of '{other.document}' in the other"
            )
    if len(sources) != len(targets):
        raise UserError(f"{both} do not match: {len(sources):,} and {len(targets):,} segments")
    return [(one.text, other.text) for one, other in zip(sources, targets, strict=True)]


def _attribute(attributes: str, name: str) -> str:
    match = re.search(
        rf"\b{name}\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|(\S+))", attributes, re.IGNORECASE
    )
    return next(filter(None, match.groups()), "") if match else ""
