"""What each answer carries and each request must: headers, hosts and origins, and the log."""

import time
from collections.abc import Iterable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nmt_moe.common.errors import visible
from nmt_moe.serve.log import say
from nmt_moe.serve.metrics import Metrics
from nmt_moe.serve.settings import Settings, loopback

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_SECRET = "/download_file/"
_ALLOWED = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
}


class Guard:
    """Around the application: refuses what comes from elsewhere, and writes headers and figures.

    Args:
        app: what answers.
        settings: of the server.
        metrics: count requests.
        paths: of the application's routes, for the metrics; all others are one.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics: Metrics, paths: Iterable[str]
    ) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._paths = set(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, began = Headers(scope=scope), time.perf_counter()
        origin = headers.get("origin")
        allowed = origin is not None and origin in self._settings.origins
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add(MutableHeaders(scope=message), origin if allowed else None)
            await send(message)

        try:
            refusal = self._refusal(scope, headers, allowed)
            if refusal is not None:
                await refusal(scope, receive, sending)
            else:
                await self._app(scope, receive, sending)
        finally:
            path = (
                "/download_file/*" if scope["path"].startswith("/download_file/") else scope["path"]
            )
            known = path if path in self._paths else "other"
            seconds = time.perf_counter() - began
            self._metrics.request(known, status or 499, seconds)
            if self._settings.log:
                self._log(scope, known, status or 499, seconds)

    def _refusal(self, scope: Scope, headers: Headers, allowed: bool) -> Any:
        settings = self._settings
        host = _name_of(headers.get("host", ""))
        if settings.here_only and host and not loopback(host):
            # A page elsewhere may have given its own name this machine's address.
            error = f"this server is not {visible(host):.100}"
            return JSONResponse({"error": error, "code": "host"}, 421)
        if scope["method"] == "OPTIONS" and allowed:
            return JSONResponse(None, headers=_ALLOWED)
        origin = headers.get("origin")
        own = origin is None or origin.partition("://")[2] == headers.get("host")
        if scope["method"] not in ("GET", "HEAD") and not (own or allowed):
            error = "pages elsewhere may not ask this server: name their origin, --allow-origin"
            return JSONResponse({"error": error, "code": "origin"}, 403)
        return None

    @staticmethod
    def _add(headers: MutableHeaders, origin: str | None) -> None:
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        headers.append("Vary", "Origin")
        if origin is not None:
            headers["Access-Control-Allow-Origin"] = origin
        else:
            headers["Cross-Origin-Resource-Policy"] = "same-origin"

    @staticmethod
    def _log(scope: Scope, path: str, status: int, seconds: float) -> None:
        """A line without the text, and without what a path may hold of it."""
        client = scope["client"][0] if scope.get("client") else "-"
        method = scope["method"] if scope["method"].isalpha() else "-"
        when = time.strftime("%Y-%m-%dT%H:%M:%S")
        say(f"{when} {client} {method:.10} {path} {status} {seconds:.3f} s")


def _name_of(host: str) -> str:
    """A host without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
