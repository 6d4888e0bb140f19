"""The body of a request: read within limits of size and time, as JSON or as a form."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from nmt_moe.serve.settings import Refused

SECONDS = 30
"""Until a body must have come; a file has more, by its size."""
_SLOWEST = 2**16
"""Bytes of a second."""
_CHARSET = re.compile(r"charset\s*\*?\d*\*?\s*=\s*[\"']?([^\s;\"']*)", re.IGNORECASE)
_CHARSETS = {"utf-8", "utf8", "us-ascii", "iso-8859-1", "latin1", "windows-1252"}
_FIELDS = 100
_MARGIN = 2**14
"""Bytes of a body beside its text."""


@dataclass(frozen=True)
class File:
    """A file that was sent."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Limit:
    """Of a body."""

    size: int
    """In bytes."""
    refusal: Callable[[], Refused]
    """Makes that of one with more."""


class _InMemory(MultiPartParser):
    spool_max_size = 2**40  # what is read is bounded, so no disk can be full


async def fields(request: Request, limit: Limit) -> dict[str, Any]:
    """The fields of a body, which is a JSON object or a form.

    Args:
        request: whose body was not read.
        limit: of the body.

    Raises:
        Refused: it is too large, too slow, or neither.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _multipart(request, limit)
    body = b"".join([part async for part in _stream(request, limit)])
    if kind == "application/json":
        return _object(body)
    if kind not in ("", "application/x-www-form-urlencoded"):
        raise Refused(415, f"a body is JSON or a form, not {kind:.50}", "body")
    if body.lstrip().startswith(b"{"):  # as of curl -d
        error = "the body looks like JSON: send it with Content-Type: application/json"
        raise Refused(400, error, "body")
    try:
        text = f"{request.url.query}&{body.decode('utf-8')}"
        found = parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS)
    except ValueError:
        raise Refused(400, "the body is no form in UTF-8", "body") from None
    return _once(found)


_NOTHING = Limit(_MARGIN, partial(Refused, 413, "a body with GET is not read", "too_large"))


async def nothing(request: Request) -> None:
    """Read a body that says nothing: some clients send one with GET."""
    async for _ in _stream(request, _NOTHING):
        pass


def limit_of_text(characters: int) -> Limit:
    """Of a body with so many characters of text: 12 bytes for one that JSON escapes."""
    return Limit(12 * characters + _MARGIN, partial(too_long, characters, 413))


def limit_of_file(mebibytes: int) -> Limit:
    """Of a body with a file."""
    error = f"the file has more than the {mebibytes:,} MiB that this server takes"
    refusal = partial(Refused, 413, error, "too_large", limit=mebibytes)
    return Limit(mebibytes * 2**20 + _MARGIN, refusal)


def too_long(characters: int, status: int = 400) -> Refused:
    """The refusal of a text that has more characters than these."""
    error = f"the text has more than {characters:,} characters: send it in parts"
    return Refused(status, error, "too_long", limit=characters)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON", "body") from None
    if not isinstance(found, dict):
        raise Refused(400, "the body is no JSON object", "body")
    return {name: _whole(value) for name, value in found.items()}


def _whole(value: Any) -> Any:
    """JSON may hold halves of characters, which no text has."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return [_whole(one) for one in value] if isinstance(value, list) else value


def _once(found: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a form; of texts of one name a list."""
    result: dict[str, Any] = {}
    for name, value in found:
        if name in result:
            before = result[name]
            result[name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            result[name] = value
    return result


async def _multipart(request: Request, limit: Limit) -> dict[str, Any]:
    named = _CHARSET.search(request.headers["content-type"])
    if named and named[1].lower() not in _CHARSETS:  # some of Python's take long, or are no text
        raise Refused(415, "a form is in UTF-8", "body")
    parser = _InMemory(
        request.headers,
        _stream(request, limit),
        max_files=1,
        max_fields=_FIELDS,
        max_part_size=limit.size,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(400, f"the body is no form: {error.message:.200}", "body") from None
    except (ValueError, LookupError):
        raise Refused(400, "the body is no form", "body") from None
    found: list[tuple[str, Any]] = []
    async with _closing(form):
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                found.append((name, File(_whole(value.filename or ""), await value.read())))
            else:
                found.append((name, _whole(value)))
    return _once(found)


class _closing:
    def __init__(self, form: Any) -> None:
        self._form = form

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        await self._form.close()


async def _stream(request: Request, limit: Limit) -> AsyncGenerator[bytes, None]:
    """The parts of a body, as long as they come and are not too many."""
    given = request.headers.get("content-length", "0")
    if not given.isdecimal() or int(given) > limit.size:
        raise limit.refusal()
    size = 0
    coming = request.stream()
    try:
        async with asyncio.timeout(SECONDS + limit.size / _SLOWEST):
            async for part in coming:
                size += len(part)
                if size > limit.size:
                    raise limit.refusal()
                yield part
    except TimeoutError:
        raise Refused(408, "the body did not come in time", "slow_body") from None
    except ClientDisconnect:
        raise Gone from None


class Gone(Exception):
    """Nobody waits for the answer any more."""
