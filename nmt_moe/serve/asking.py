"""What requests have in common: whether they may ask, whether there is room, and how they end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, TypeVar

from starlette.requests import Request

from nmt_moe.common.errors import visible
from nmt_moe.serve import languages
from nmt_moe.serve.body import Gone, too_long
from nmt_moe.serve.files import Files
from nmt_moe.serve.log import say
from nmt_moe.serve.metrics import Metrics
from nmt_moe.serve.process import Model
from nmt_moe.serve.settings import FILES_AT_ONCE, Refused, Settings
from nmt_moe.serve.translating import Translating

T = TypeVar("T")


@dataclass
class Service:
    """A server's models, and what its requests do with them."""

    settings: Settings
    models: list[Model]
    metrics: Metrics
    files: Files = field(default_factory=Files)
    running: int = 0
    """Requests that wait or are translated."""
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2 * FILES_AT_ONCE))
    """Threads that cut files and put them together."""

    def close(self) -> None:
        """Let the threads end."""
        self.pool.shutdown(wait=False, cancel_futures=True)

    def check_token(self, request: Request, key: object = None) -> None:
        """Raise :class:`Refused` for a request without a token of the file.

        Args:
            request: may have it as ``Authorization: Bearer``.
            key: what it gave as ``api_key``.
        """
        tokens = self.settings.tokens
        if not tokens:
            return
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        found = [given.strip()] if kind.lower() == "bearer" else []
        found += [key] if isinstance(key, str) else []
        found += [request.query_params.get("api_key", "")]
        for one in found:
            # All are compared, each in constant time.
            if any([compare_digest(one.encode(), token.encode()) for token in tokens]):
                return
        if any(found):
            raise Refused(403, "the token is not one of this server's", "token_wrong")
        error = "this server needs a token: give api_key or Authorization: Bearer"
        raise Refused(403, error, "token")

    def check_announced_token(self, request: Request) -> None:
        """The same for a request whose body was not read: it is not read where a token in the
        head is wrong."""
        if "authorization" in request.headers:
            self.check_token(request)

    def between(self, source: str, target: str) -> Translating:
        """What translates between two languages.

        Raises:
            Refused: nothing does, or its model has failed.
        """
        between, model = languages.choose(self.models, source, target)
        model.check()
        return Translating(model, between)

    @asynccontextmanager
    async def room(self) -> AsyncIterator[None]:
        """Room for a request.

        Raises:
            Refused: there is none.
        """
        self.check_room()
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    def check_room(self) -> None:
        """Raise :class:`Refused` where there is no room for a request."""
        if self.running >= self.settings.queue:
            raise Refused(429, "too many requests wait here: try again soon", "busy", retry_after=2)

    async def known(self) -> None:
        """Wait until it is known between which languages the models translate."""
        for model in self.models:
            await model.known()

    def note(self, text: str, translation: str) -> None:
        """Write a text and its translation to stderr, where the server was asked to."""
        if self.settings.log_text:
            say(f"{visible(text)}\t{visible(translation)}")

    def measured(self) -> bytes:
        """The metrics as they are now."""
        self.metrics.running.set(self.running)
        for model in self.models:
            self.metrics.waiting.labels(model.name).set(model.waiting)
            self.metrics.ready.labels(model.name).set(model.state == "ready")
        return self.metrics.text()


async def while_waited_for(
    request: Request, work: Callable[[], Awaitable[T]], seconds: float | None
) -> T:
    """Do what a request asks for, as long as somebody waits for it.

    Args:
        request: whose body was read.
        work: is cancelled when the request is gone.
        seconds: that it may take.

    Raises:
        Gone: nobody waits any more.
        Refused: it took too long.
    """
    working: asyncio.Future[T] = asyncio.ensure_future(work())
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((working, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if gone.done():
            raise Gone
        raise too_late(seconds or 0)
    finally:
        for task in (working, gone):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await working


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def too_late(seconds: float) -> Refused:
    """The refusal of a request that took longer than these."""
    error = f"the translation took more than {seconds:g} seconds: send less text"
    return Refused(504, error, "slow_translation")


def text_of(fields: dict[str, Any], name: str, default: str | None = None) -> str:
    """A field that is one text.

    Raises:
        Refused: it is missing, or something else.
    """
    value = fields.get(name, default)
    if value is None:
        raise Refused(400, f"{name} is missing", "missing")
    if not isinstance(value, str):
        raise Refused(400, f"{name} must be a text", "field")
    return value


def check_length(texts: list[str], limit: int) -> None:
    """Raise :class:`Refused` for texts that have too many characters together."""
    if sum(map(len, texts)) > limit:
        raise too_long(limit)
