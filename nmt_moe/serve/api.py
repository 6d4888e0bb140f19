"""What the page asks for, beside LibreTranslate's protocol."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from nmt_moe.serve import languages
from nmt_moe.serve.asking import Service, check_length, text_of, while_waited_for
from nmt_moe.serve.body import fields, limit_of_text, nothing
from nmt_moe.serve.openapi import as_page, description
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
            try:
                async with (
                    service.room(),
                    asyncio.timeout(self._settings.timeout),
                    contextlib.aclosing(translating.sentences(text)) as found,
                ):
                    async for one in found:
                        yield _event("end" if "text" in one else "sentence", one)
            except Refused as error:
                yield _event("error", {"error": error.error})
            except TimeoutError:
                seconds = self._settings.timeout
                late = f"the translation took more than {seconds:g} seconds: send less text"
                yield _event("error", {"error": late})

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

    async def openapi(self, request: Request) -> Response:
        """``GET /openapi.json``."""
        await nothing(request)
        return JSONResponse(description(self._settings))

    async def docs(self, request: Request) -> Response:
        """``GET /docs``: the description for people."""
        await nothing(request)
        return HTMLResponse(as_page(description(self._settings)))


def _event(kind: str, content: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(content)}\n\n".encode()
