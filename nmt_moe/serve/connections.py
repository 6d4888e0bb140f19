"""Connections that do not come to a request, and clients that do not read, are closed."""

import asyncio
import contextlib
import resource
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20
"""Until the head of a request must have come."""
WRITE_SECONDS = 60
"""That a client may read nothing of what is written to it."""
MOST = 1000
"""Connections at once; further ones are closed at once."""


class Connection(H11Protocol):
    """uvicorn's, with two clocks."""

    _head: asyncio.TimerHandle | None = None
    _write: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
            return
        self._head = self.loop.call_later(HEAD_SECONDS, self._late)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_head_clock()
        elif self._head is None:
            # The keep-alive clock has stopped with the first byte of the next request.
            self._head = self.loop.call_later(HEAD_SECONDS, self._late)

    def _late(self) -> None:
        self._head = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_writing_clock()
        self._write = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_writing_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_clock()
        self._stop_writing_clock()
        super().connection_lost(exc)

    def _stop_head_clock(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _stop_writing_clock(self) -> None:
        if self._write is not None:
            self._write.cancel()
            self._write = None


def raise_limit() -> None:
    """Let this process open as many files as connections may need, where it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + 200 if hard == resource.RLIM_INFINITY else min(MOST + 200, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
