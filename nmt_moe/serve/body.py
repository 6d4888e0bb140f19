"""The body of a request: read within limits of size and time, as JSON or as a form."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
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


class _InMemory(MultiPartParser):
    spool_max_size = 2**40  # what is read is bounded, so no disk can be full


async def fields(request: Request, limit: int) -> dict[str, Any]:
    """The fields of a body, which is a JSON object or a form.

    Args:
        request: whose body was not read.
        limit: of the body, in bytes.

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
        raise Refused(415, f"a body is JSON or a form, not {kind:.50}")
    try:
        text = f"{request.url.query}&{body.decode('utf-8')}"
        found = parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS)
    except ValueError:
        raise Refused(400, "the body is no form in UTF-8") from None
    return _once(found)


async def nothing(request: Request) -> None:
    """Read a body that says nothing: some clients send one with GET."""
    async for _ in _stream(request, _MARGIN):
        pass


def limit_of_text(characters: int) -> int:
    """Bytes that a body with so many characters of text may have: 12 for one that JSON escapes."""
    return 12 * characters + _MARGIN


def limit_of_file(mebibytes: int) -> int:
    """Bytes that a body with a file may have."""
    return mebibytes * 2**20 + _MARGIN


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None
    if not isinstance(found, dict):
        raise Refused(400, "the body is no JSON object")
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


async def _multipart(request: Request, limit: int) -> dict[str, Any]:
    named = _CHARSET.search(request.headers["content-type"])
    if named and named[1].lower() not in _CHARSETS:  # some of Python's take long, or are no text
        raise Refused(415, "a form is in UTF-8")
    parser = _InMemory(
        request.headers,
        _stream(request, limit),
        max_files=1,
        max_fields=_FIELDS,
        max_part_size=limit,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(400, f"the body is no form: {error.message:.200}") from None
    except (ValueError, LookupError):
        raise Refused(400, "the body is no form") from None
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


async def _stream(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The parts of a body, as long as they come and are not too many."""
    given = request.headers.get("content-length", "0")
    if not given.isdecimal() or int(given) > limit:
        raise _too_large(limit)
    size = 0
    coming = request.stream()
    try:
        async with asyncio.timeout(SECONDS + limit / _SLOWEST):
            async for part in coming:
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                yield part
    except TimeoutError:
        raise Refused(408, "the body did not come in time") from None
    except ClientDisconnect:
        raise Gone from None


class Gone(Exception):
    """Nobody waits for the answer any more."""


def _too_large(limit: int) -> Refused:
    return Refused(413, f"the body has more than the {limit:,} bytes that this server takes")
