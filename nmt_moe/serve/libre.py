"""LibreTranslate's protocol, which its clients speak."""

import asyncio
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from nmt_moe.serve import languages
from nmt_moe.serve.asking import Service, check_length, text_of, while_waited_for
from nmt_moe.serve.body import File, fields, limit_of_file, limit_of_text, nothing
from nmt_moe.serve.settings import FILES_AT_ONCE, UPLOADS_AT_ONCE, Refused
from nmt_moe.serve.translating import Translated
from nmt_moe.translate.documents.forms import ENDINGS, FORMS, form_of

AUTO = "auto"
FILE_ENDINGS = [".txt", *ENDINGS]
_MOST_TEXTS = 1000


class Libre:
    """The answers of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings = service.settings
        self._uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._files = asyncio.Semaphore(FILES_AT_ONCE)

    async def translate(self, request: Request) -> Response:
        """``POST /translate``."""
        service, settings = self._service, self._settings
        given = await fields(request, limit_of_text(settings.max_length))
        service.check_token(request, given.get("api_key"))
        texts, several = _texts(given)
        check_length(texts, settings.max_length)
        form = text_of(given, "format", "text")
        if form not in ("text", "html"):
            raise Refused(400, f"format must be text or html, not {form!r:.50}", "field")
        number = self._alternatives(given)
        source, target = text_of(given, "source"), text_of(given, "target")
        await service.known()
        async with service.room():
            spoken = None
            if source == AUTO:
                spoken = await asyncio.to_thread(_spoken, service, texts)
                source = spoken["language"]
            work = partial(self._translate, texts, source, target, form, number or 0)
            found = await while_waited_for(request, work, settings.timeout)
        for text, one in zip(texts, found, strict=True):
            service.note(text, one.text)
        answer: dict[str, Any] = {"translatedText": _one(several, [one.text for one in found])}
        if number is not None:
            answer["alternatives"] = _one(several, [one.alternatives for one in found])
        if spoken is not None:
            answer["detectedLanguage"] = [spoken] * len(found) if several else spoken
        return JSONResponse(answer)

    async def _translate(
        self, texts: list[str], source: str, target: str, form: str, alternatives: int
    ) -> list[Translated]:
        if _alike(self._service, source, target):
            return [Translated(text, []) for text in texts]
        translating = self._service.between(source, target)
        tasks = [
            asyncio.create_task(
                translating.text(text, alternatives)
                if form == "text"
                else translating.hypertext(text, self._service.pool)
            )
            for text in texts
        ]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:  # where one has failed
                task.cancel()

    def _alternatives(self, given: dict[str, Any]) -> int | None:
        """How many are wanted, as far as the beam has them; None: they are not asked for."""
        most = self._settings.beam - 1
        try:
            number = int(given.get("alternatives") or 0)
        except (TypeError, ValueError, OverflowError):
            number = -1
        if not 0 <= number:
            raise Refused(400, f"alternatives must be a whole number from 0 to {most}", "field")
        return min(number, most) if number else None

    async def languages(self, request: Request) -> Response:
        """``GET /languages``."""
        await nothing(request)
        await self._service.known()
        return JSONResponse(languages.listing(self._service.models))

    async def detect(self, request: Request) -> Response:
        """``POST /detect``."""
        given = await fields(request, limit_of_text(self._settings.max_length))
        self._service.check_token(request, given.get("api_key"))
        text = text_of(given, "q")
        check_length([text], self._settings.max_length)
        await self._service.known()
        found = await asyncio.to_thread(_detected, self._service, text)
        return JSONResponse(found)

    async def translate_file(self, request: Request) -> Response:
        """``POST /translate_file``."""
        service = self._service
        service.check_announced_token(request)
        async with _slot(self._uploads):
            given = await fields(request, limit_of_file(self._settings.max_file))
        service.check_token(request, given.get("api_key"))
        asked = _asked_of_file(given)
        source, target = text_of(given, "source"), text_of(given, "target")
        await service.known()
        async with _slot(self._files), service.room():
            if source == AUTO:
                start = asked.content[:2000].decode("utf-8", "ignore")
                source = (await asyncio.to_thread(_spoken, service, [start]))["language"]
            translating = service.between(source, target)
            work = partial(
                translating.file, asked.content, asked.form, asked.columns, asked.name, service.pool
            )
            content = await while_waited_for(request, work, None)
        secret = service.files.keep(_named(asked.name, target), content)
        return JSONResponse({"translatedFileUrl": f"{_root(request)}/download_file/{secret}"})

    async def download_file(self, request: Request) -> Response:
        """``GET /download_file/SECRET``."""
        kept = self._service.files.get(request.path_params["secret"])
        if kept is None:
            raise Refused(404, "there is no such file here any more: translate it again", "expired")
        name = urllib.parse.quote(kept.name, safe="")
        headers = {"Content-Disposition": f"attachment; filename*=utf-8''{name}"}
        return Response(kept.content, headers=headers, media_type="application/octet-stream")

    async def health(self, request: Request) -> Response:
        """``GET /health``."""
        await nothing(request)
        worst = min(self._service.models, key=lambda model: _HEALTH[model.state])
        if worst.state == "ready":
            return JSONResponse({"status": "ok"})
        error = worst.error or f"{worst.name} is being opened"
        return JSONResponse({"status": worst.state, "error": error, "code": "unavailable"}, 503)

    async def settings(self, request: Request) -> Response:
        """``GET /frontend/settings``."""
        await nothing(request)
        await self._service.known()
        listed = languages.listing(self._service.models)
        names = {one["code"]: one["name"] for one in listed}
        sources = [one for one in listed if one["targets"]]
        source = sources[0]["code"] if sources else ""
        target = sources[0]["targets"][0] if sources else ""
        settings = self._settings
        return JSONResponse(
            {
                "apiKeys": bool(settings.tokens),
                "charLimit": settings.max_length,
                "filesTranslation": True,
                "frontendTimeout": 500,
                "keyRequired": bool(settings.tokens),
                "language": {
                    "source": {"code": source, "name": names.get(source, "")},
                    "target": {"code": target, "name": names.get(target, "")},
                },
                "suggestions": False,
                "supportedFilesFormat": FILE_ENDINGS,
            }
        )


_HEALTH = {"failed": 0, "loading": 1, "ready": 2}
_OTHERS = {".docx", ".odt", ".odp", ".pdf", ".pptx", ".epub", ".doc", ".xls", ".xlsx", ".zip"}


@dataclass(frozen=True)
class _AskedFile:
    """A file to translate."""

    name: str
    content: bytes
    form: str
    columns: list[str]


def _asked_of_file(given: dict[str, Any]) -> _AskedFile:
    file = given.get("file")
    if not isinstance(file, File) or not file.name:
        raise Refused(400, "file is missing: send it as multipart/form-data", "missing")
    name = _plain_name(file.name)
    if Path(name).suffix.lower() in _OTHERS:
        error = f"{name} is no file of text, as {', '.join(FILE_ENDINGS)} are"
        raise Refused(400, error, "file_type")
    form = text_of(given, "format", form_of(Path(name)))
    if form not in FORMS:
        raise Refused(400, f"format must be one of {', '.join(FORMS)}, not {form!r:.50}", "field")
    columns = [one for one in text_of(given, "column", "").split(",") if one]
    if form == "tsv" and not columns:
        error = "which column is to be translated? Give its number as column"
        raise Refused(400, error, "column")
    return _AskedFile(name, file.content, form, columns)


@asynccontextmanager
async def _slot(among: asyncio.Semaphore) -> AsyncIterator[None]:
    """One of few places; where none is free, nobody waits for it."""
    if among.locked():
        raise Refused(429, "too many files are translated here: try again", "busy", retry_after=10)
    async with among:
        yield


def _texts(given: dict[str, Any]) -> tuple[list[str], bool]:
    """The texts of q, and whether they are several."""
    found = given.get("q")
    if found is None:
        raise Refused(400, "q is missing", "missing")
    several = isinstance(found, list)
    texts = found if isinstance(found, list) else [found]
    if not all(isinstance(text, str) for text in texts):
        raise Refused(400, "q must be a text, or a list of texts", "field")
    if len(texts) > _MOST_TEXTS:
        error = f"q has more than {_MOST_TEXTS:,} texts: send them in parts"
        raise Refused(400, error, "too_many", limit=_MOST_TEXTS)
    return texts, several


def _one(several: bool, found: list[Any]) -> Any:
    return found if several else found[0]


def _sources(service: Service) -> list[str]:
    return [one["code"] for one in languages.listing(service.models) if one["targets"]]


def _detected(service: Service, text: str) -> list[dict[str, Any]]:
    return languages.detected(text, [one["code"] for one in languages.listing(service.models)])


def _spoken(service: Service, texts: list[str]) -> dict[str, Any]:
    """The language of texts that do not say it."""
    sources = _sources(service)
    if len(sources) == 1 and not languages.detects():
        return {"language": sources[0], "confidence": 0.0}
    if not sources:
        raise Refused(503, "no model is ready", "unavailable")
    return languages.spoken("\n".join(texts), sources)


def _alike(service: Service, source: str, target: str) -> bool:
    """Whether a text is in the language that is asked for, which some model knows."""
    return source == target and any(
        source in between for model in service.models for between in model.between
    )


def _plain_name(name: str) -> str:
    """The last part of a name, without what no name of a file has."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in last if char.isprintable())[:200] or "text.txt"


def _named(name: str, target: str) -> str:
    path = Path(name)
    into = "".join(char for char in target if char.isalnum() or char in "-_")
    return f"{path.stem}_{into}{path.suffix}"


def _root(request: Request) -> str:
    """The server's address as the client has it: a proxy may speak TLS for this server."""
    url = request.base_url
    secure = request.headers.get("x-forwarded-proto", "").lower() == "https"
    return str(url.replace(scheme="https") if secure else url).rstrip("/")
