"""A single attempt to download a file by HTTP, resuming an earlier one.

Received data is kept in a partial file; a note beside it records the URL and the version of the
file. The server may resume (206), send everything anew (200) or say that nothing is left (416). The
received size is compared with the announced one.
"""

import http.client
import json
import re
import shutil
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from email.message import Message
from pathlib import Path
from typing import Any

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.progress import Progress, bytes_text

_BLOCK = 1 << 16
_TRY_AGAIN = (408, 416, 425, 429)  # of the 4xx answers, those that another try may change
_NETWORK = (OSError, http.client.HTTPException)


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Follows a server only to where archives may come from."""

    def __init__(self, origins: set[str]) -> None:
        self._origins = origins

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if origin(newurl) not in self._origins:
            raise Interrupted(f"it redirects to {newurl}, which is none of the mirrors", True)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(origins: set[str]) -> urllib.request.OpenerDirector:
    """No ftp and no data: URLs, also not after a redirection; one to a file urllib refuses."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.FileHandler(),
        _Redirections(origins),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class Interrupted(Exception):
    """A failed attempt; ``lasting`` if repeating the request is unlikely to help."""

    def __init__(self, reason: str, lasting: bool = False) -> None:
        super().__init__(reason)
        self.lasting = lasting


def origin(url: str) -> str:
    """The scheme, host and port of a URL."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def transfer(
    url: str,
    part: Path,
    size: int | None,
    timeout: float,
    interval: float,
    origins: Iterable[str] = (),
) -> bool:
    """Try once to complete ``part``.

    Args:
        url: the file to download.
        part: the partial file; ``part`` with ``.json`` is the note.
        size: bytes of the whole file, None if not known.
        timeout: seconds without any data after which the attempt fails.
        interval: seconds between two lines of progress in a log.
        origins: where a server may redirect to, besides to itself.

    Returns:
        Whether all of the file came in this attempt, so that no part can be of another version.

    Raises:
        Interrupted: the file is not complete.
        UserError: the disk is too full for it.
    """
    have = part.stat().st_size if part.exists() else 0
    note = _read_note(part)
    headers = {"User-Agent": "nmt_moe", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if note.get("url") == url and note.get("version"):
            headers["If-Range"] = note["version"]
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = _opener({origin(url), *origins}).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:
                if _total_of(error.headers) == have:
                    return False
                discard(part)
            lasting = 400 <= error.code < 500 and error.code not in _TRY_AGAIN
            raise Interrupted(f"HTTP {error.code} {error.reason}", lasting) from None
    except _NETWORK as error:
        missing = isinstance(getattr(error, "reason", error), FileNotFoundError)
        raise Interrupted(_reason(error), lasting=missing) from None
    with answer:
        if answer.status == 206:
            total = _continued(answer.headers, have, note.get("total"), part)
        else:
            length = answer.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            if total is not None and total < have and total != size:
                raise Interrupted(
                    f"it sends {total:,} bytes, fewer than the {have:,} that are in {part}: "
                    "remove that file if this is right",
                    lasting=True,
                )
            have = 0
        if None not in (size, total) and size != total:
            raise Interrupted(f"the file there has {total:,} bytes, not {size:,}", lasting=True)
        total = total or size
        _check_space(part, have, total)
        resumed = have > 0
        if not resumed:
            part.unlink(missing_ok=True)  # before the note says that it is of this version
        version = _version(answer.headers)
        with atomic_write([_note(part)]) as [file]:
            file.write(json.dumps({"url": url, "version": version, "total": total}))
        name = part.stem
        if have:
            print(f"{name}: goes on after {bytes_text(have)}", flush=True)
        with Progress(name, "B", total, done=have, seconds=interval, file=sys.stdout) as progress:
            have = _receive(answer, part, have, progress)
    if total is not None and have != total:
        raise Interrupted(f"the connection ended after {have:,} of {total:,} bytes")
    print(f"{name}: {bytes_text(have)}, {bytes_text(progress.speed)}/s", flush=True)
    return not resumed


def discard(part: Path) -> None:
    """Remove a partial file and its note."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _receive(answer: Any, part: Path, have: int, progress: Progress) -> int:
    """Append what comes; returns the size of the partial file."""
    with part.open("ab") as file:
        while True:
            try:
                block = answer.read1(_BLOCK)  # what is there, so that nothing of it is lost
            except _NETWORK as error:
                raise Interrupted(f"{_reason(error)} after {have:,} bytes") from None
            if not block:
                return have
            try:
                file.write(block)
            except OSError as error:
                raise UserError(f"{part}: cannot be written: {error.strerror}") from None
            have += len(block)
            progress.add(len(block))


def _continued(headers: Message, have: int, before: int | None, part: Path) -> int | None:
    """The size of the whole file, of which the answer is the rest."""
    match = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
    total = _total_of(headers)
    if not match or int(match[1]) != have or (before and total and before != total):
        discard(part)
        raise Interrupted("the server does not go on with the same file: starting over")
    return total


def _total_of(headers: Message) -> int | None:
    match = re.match(r"bytes [^/]*/(\d+)$", headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _version(headers: Message) -> str | None:
    """What If-Range may hold: a strong ETag or a date."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")


def _check_space(part: Path, have: int, total: int | None) -> None:
    free = shutil.disk_usage(part.parent).free
    there = part.stat().st_size if part.exists() else 0
    if total is not None and total - max(have, there) > free:
        raise UserError(
            f"{part.with_suffix('')} needs {bytes_text(total)}, {bytes_text(free)} are free there: "
            "free some space, or name a folder on another disk"
        )


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(_note(part).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, TimeoutError):
        return "no data for too long"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
