"""The SGM files of WMT's development and test sets: a line for each segment.

SGM is neither XML nor HTML; as in WMT's own scripts, only its documents and segments are looked
for. Entities are replaced once, and only those that end in a semicolon: ``AT&T`` and ``R&Dnot``
stay as they are.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from nmt_moe.common.errors import UserError

# Nothing here takes more than linear time, whatever a damaged file holds.
_TAG = re.compile(r"<doc\b([^<>]*)>|<seg\b([^<>]*)(?:>|(?=<)|\Z)|</seg\s*>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]*);", re.IGNORECASE)
_LINE_END = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


@dataclass(frozen=True)
class Segment:
    """A segment's text as one line, with its document and number."""

    document: str
    number: str
    text: str


def segments(content: bytes, name: str) -> list[Segment]:
    """The segments of a file, in its order.

    Whitespace around a line end within a segment becomes one space, that at its ends is dropped;
    all other whitespace stays.

    Args:
        content: the file, in UTF-8.
        name: what to call it in errors.

    Raises:
        UserError: it is not UTF-8, has no segment, or one that does not end.
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
    start: int | None = None  # of the segment that is open
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
    """The lines of two files of the same documents and segments.

    Args:
        source: a file's name, for errors, and its content.
        target: the same of its translation.

    Raises:
        UserError: they differ in a document or a segment; names both.
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
