"""What the page asks for, beside LibreTranslate's protocol."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from nmt_moe.serve import languages
from nmt_moe.serve.asking import Service, check_length, text_of, too_late, while_waited_for
from nmt_moe.serve.body import fields, limit_of_text, nothing
from nmt_moe.serve.docs import POLICY, as_page
from nmt_moe.serve.openapi import description
from nmt_moe.serve.page import page
from nmt_moe.serve.settings import Refused


class Api:
    """The answers of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings = service.settings
        self._page = page()

    async def page(self, request: Request) -> Response:
        """``GET /``."""
        await nothing(request)
        headers = {"Content-Security-Policy": self._page.policy, "Cache-Control": "no-cache"}
        return HTMLResponse(self._page.html, headers=headers)

    async def models(self, request: Request) -> Response:
        """``GET /api/models``: of each model and direction how it is."""
        await nothing(request)
        found: list[dict[str, Any]] = []
        for model in self._service.models:
            state = {"name": model.name, "state": model.state}
            state |= {"error": model.error} if model.error else {}
            if not model.between:
                found.append(state)
            for source, target in model.between:
                found.append(
                    state
                    | {"source": source, "target": target}
                    | {
                        "sourceName": languages.own_name(source),
                        "targetName": languages.own_name(target),
                        "sourceRtl": languages.leftward(source),
                        "targetRtl": languages.leftward(target),
                    }
                )
        return JSONResponse(found)

    async def stream(self, request: Request) -> Response:
        """``POST /api/stream``: sentences as events."""
        service = self._service
        text, source, target = await self._asked(request)
        translating = service.between(source, target)
        service.check_room()

        async def events() -> AsyncIterator[bytes]:
            loop = asyncio.get_running_loop()
            end = loop.time() + self._settings.timeout
            try:
                async with (
                    service.room(),
                    contextlib.aclosing(translating.sentences(text)) as found,
                ):
                    # No clock around the whole: it would tick while the client reads.
                    while one := await asyncio.wait_for(anext(found), end - loop.time()):
                        if "text" in one:
                            service.note(text, one["text"])
                            yield _event("end", one)
                            return
                        yield _event("sentence", one)
            except Refused as error:
                yield _event("error", error.content)
            except TimeoutError:
                yield _event("error", too_late(self._settings.timeout).content)

        return StreamingResponse(events(), media_type="text/event-stream")

    async def explain(self, request: Request) -> Response:
        """``POST /api/explain``: what a model did with a sentence."""
        service = self._service
        text, source, target = await self._asked(request)
        translating = service.between(source, target)
        async with service.room():
            found = await while_waited_for(
                request, lambda: translating.explained(text), self._settings.timeout
            )
        return JSONResponse(found)

    async def _asked(self, request: Request) -> tuple[str, str, str]:
        given = await fields(request, limit_of_text(self._settings.max_length))
        self._service.check_token(request, given.get("api_key"))
        text = text_of(given, "q")
        check_length([text], self._settings.max_length)
        source, target = text_of(given, "source"), text_of(given, "target")
        await self._service.known()
        return text, source, target

    async def metrics(self, request: Request) -> Response:
        """``GET /metrics``."""
        await nothing(request)
        self._service.check_token(request)
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(self._service.measured(), media_type=kind)

    def _description(self) -> dict[str, Any]:
        return description(self._settings, languages.directions(self._service.models))

    async def openapi(self, request: Request) -> Response:
        """``GET /openapi.json``."""
        await nothing(request)
        return JSONResponse(self._description())

    async def docs(self, request: Request) -> Response:
        """``GET /docs``: the description for people."""
        await nothing(request)
        headers = {"Content-Security-Policy": POLICY}
        return HTMLResponse(as_page(self._description()), headers=headers)


def _event(kind: str, content: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(content)}\n\n".encode()
