"""The application: its routes, what runs beside them, and its errors as JSON."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from nmt_moe.serve.api import Api
from nmt_moe.serve.asking import Service
from nmt_moe.serve.body import Gone
from nmt_moe.serve.libre import Libre
from nmt_moe.serve.security import Guard
from nmt_moe.serve.settings import Refused


def application(service: Service) -> ASGIApp:
    """What answers requests."""
    libre, api = Libre(service), Api(service)
    post, get = ["POST"], ["GET"]
    routes = [
        Route("/", api.page, methods=get),
        Route("/translate", libre.translate, methods=post),
        Route("/translate_file", libre.translate_file, methods=post),
        Route("/download_file/{secret}", libre.download_file, methods=get),
        Route("/detect", libre.detect, methods=post),
        Route("/languages", libre.languages, methods=get),
        Route("/frontend/settings", libre.settings, methods=get),
        Route("/health", libre.health, methods=get),
        Route("/api/models", api.models, methods=get),
        Route("/api/stream", api.stream, methods=post),
        Route("/api/explain", api.explain, methods=post),
        Route("/metrics", api.metrics, methods=get),
        Route("/openapi.json", api.openapi, methods=get),
        Route("/docs", api.docs, methods=get),
    ]

    @contextlib.asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(model.run()) for model in service.models]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    app = Starlette(
        routes=routes,
        lifespan=living,
        exception_handlers={
            Refused: _refused,
            Gone: _gone,
            HTTPException: _http,
            Exception: _broken,
        },
    )
    app.router.redirect_slashes = False
    paths = [route.path.replace("{secret}", "*") for route in routes]
    return Guard(app, service.settings, service.metrics, paths)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    after = error.retry_after
    headers = {} if after is None else {"Retry-After": str(after)}
    if error.status in (408, 413):  # more of the body may come
        headers["Connection"] = "close"
    return JSONResponse(error.content, error.status, headers)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = {
        404: ("there is nothing here", "not_found"),
        405: ("another method is needed here: see Allow", "method"),
    }
    text, code = said.get(error.status_code, (error.detail, "body"))
    return JSONResponse({"error": text, "code": code}, error.status_code, dict(error.headers or {}))


async def _broken(request: Request, error: Exception) -> Response:
    text = "this server has a bug: its operator can read which"
    return JSONResponse({"error": text, "code": "broken"}, 500)
