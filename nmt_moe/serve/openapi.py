"""The description of the server's protocol, as OpenAPI."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nmt_moe import __version__
from nmt_moe.serve.codes import CODES
from nmt_moe.serve.settings import Settings
from nmt_moe.translate.documents.forms import FORMS

_Schema = dict[str, Any]

_TEXT: _Schema = {"type": "string"}
_NUMBER: _Schema = {"type": "integer", "minimum": 0}
_REFUSALS = {
    400: "The request is wrong; `error` says what.",
    403: "A token is needed, or the page that asks is elsewhere.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    415: "The body is neither JSON nor a form.",
    421: "The host is not this server's.",
    429: "Too many requests wait: come again after the seconds of `Retry-After`.",
    503: "The model is not there; `error` says why.",
    504: "The translation took too long.",
}
_ERROR: _Schema = {
    "type": "object",
    "properties": {
        "error": _TEXT | {"description": "One line for people."},
        "code": {
            "enum": [*CODES],
            "description": "; ".join(f"{code}: {what}" for code, what in CODES.items()),
        },
        "limit": _NUMBER | {"description": "Of characters, texts or MiB, where it was passed."},
    },
    "required": ["error", "code"],
}
_ALWAYS = (400, 413, 421)
_WORK = (403, 408, 415, 429, 503, 504)


def description(settings: Settings, between: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The content of ``/openapi.json``.

    Args:
        settings: of the server.
        between: the source and target languages that are known now.
    """
    needed: list[_Schema] = [{"bearer": []}] if settings.tokens else []
    known = [*between]
    languages = {
        "source": _codes(source for source, _ in known),
        "target": _codes(target for _, target in known),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nmt-moe serve",
            "version": __version__,
            "description": "Translates text. The paths outside of /api are LibreTranslate's.",
        },
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "paths": {
            "/translate": _post(
                "Translate a text, or several.",
                _translate_fields(settings, languages),
                ("q", "source", "target"),
                _json(_translated(), "The translation."),
                needed,
            ),
            "/translate_file": _post(
                "Translate a file, whose form stays.",
                _file_fields(languages),
                ("file", "source", "target"),
                _json(_record({"translatedFileUrl": _TEXT}), "Where the translation is fetched."),
                needed,
                kinds=("multipart/form-data",),
            ),
            "/download_file/{secret}": _get(
                "Fetch a translated file, for ten minutes.",
                _answer("The file.", "application/octet-stream", {}),
                refusals=(404,),
                parameters=[_in_path("secret")],
            ),
            "/detect": _post(
                "Tell which language a text is in.",
                {"q": _text(settings), "api_key": _KEY},
                ("q",),
                _json(_list(_DETECTED), "The likely languages, the best first."),
                needed,
            ),
            "/languages": _get("The languages.", _json(_list(_LANGUAGE), "The languages.")),
            "/frontend/settings": _get(
                "What LibreTranslate's page asks first.", _json({"type": "object"}, "Settings.")
            ),
            "/health": _get(
                "Whether all models are ready.",
                _json(_record({"status": _TEXT}), "They are."),
                refusals=(503,),
            ),
            "/api/models": _get("The models.", _json(_list(_MODEL), "Of each direction a model.")),
            "/api/stream": _post(
                "Translate a text; each sentence is an event as soon as it is ready.",
                _asked(settings, languages),
                ("q", "source", "target"),
                _answer("Events: sentence, end, error.", "text/event-stream", {}),
                needed,
            ),
            "/api/explain": _post(
                "What the model did with one sentence: alternatives, alignment, experts.",
                _asked(settings, languages),
                ("q", "source", "target"),
                _json(_EXPLAINED, "The translation and what is behind it."),
                needed,
            ),
            "/metrics": _get(
                "Figures for Prometheus.",
                _answer("The figures.", "text/plain", _TEXT),
                refusals=(403,),
                needed=needed,
            ),
        },
    }


def _record(fields: Mapping[str, Any], required: Sequence[str] | None = None) -> _Schema:
    needed = list(fields) if required is None else list(required)
    return {"type": "object", "properties": dict(fields), "required": needed}


def _list(items: _Schema) -> _Schema:
    return {"type": "array", "items": items}


_KEY = {"type": "string", "description": "A token, where the server needs one."}
_DETECTED = _record({"language": _TEXT, "confidence": {"type": "number"}})
_LANGUAGE = _record({"code": _TEXT, "name": _TEXT, "targets": _list(_TEXT)})
_MODEL = _record(
    {
        "name": _TEXT,
        "state": {"enum": ["ready", "loading", "failed"]},
        "error": _TEXT,
        "source": _TEXT,
        "target": _TEXT,
        "sourceName": _TEXT,
        "targetName": _TEXT,
        "sourceRtl": {"type": "boolean"},
        "targetRtl": {"type": "boolean"},
    },
    ("name", "state"),
)
_WORD = _record({"text": _TEXT, "start": _NUMBER, "end": _NUMBER})
_EXPERT = _record({"expert": _NUMBER, "gate": {"type": "number"}})
_EXPLAINED = _record(
    {
        "translation": _TEXT,
        "alternatives": _list(_TEXT),
        "source": _list(_WORD),
        "target": _list(_WORD),
        "alignment": _list(_list(_NUMBER)),
        "pieces": _list(
            _record(
                {
                    "text": _TEXT,
                    "side": {"enum": ["source", "target"]},
                    "layers": _list(_record({"layer": _TEXT, "experts": _list(_EXPERT)})),
                }
            )
        ),
    }
)


def _translated() -> _Schema:
    several: list[_Schema] = [_TEXT, _list(_TEXT)]
    return _record(
        {
            "translatedText": {"anyOf": several},
            "alternatives": {"anyOf": [_list(_TEXT), _list(_list(_TEXT))]},
            "detectedLanguage": {"anyOf": [_DETECTED, _list(_DETECTED)]},
        },
        ("translatedText",),
    )


def _codes(codes: Iterable[str]) -> _Schema:
    """The codes that there are; others of the same language are understood, too."""
    known = [*dict.fromkeys(codes)]
    return {"anyOf": [{"enum": known}, _TEXT]} if known else _TEXT


def _text(settings: Settings) -> _Schema:
    return {"type": "string", "maxLength": settings.max_length}


def _asked(settings: Settings, languages: _Schema) -> _Schema:
    return {"q": _text(settings), **languages, "api_key": _KEY}


def _translate_fields(settings: Settings, languages: _Schema) -> _Schema:
    texts = {"anyOf": [_text(settings), _list(_text(settings))]}
    return _asked(settings, languages) | {
        "q": texts,
        "source": languages["source"] | {"description": "A code, or auto."},
        "format": {"enum": ["text", "html"]},
        "alternatives": {
            "type": "integer",
            "minimum": 0,
            "description": f"How many are wanted, at most {settings.beam - 1}.",
        },
    }


def _file_fields(languages: _Schema) -> _Schema:
    return {
        "file": {"type": "string", "format": "binary"},
        "source": languages["source"] | {"description": "A code, or auto."},
        "target": languages["target"],
        "format": {"enum": [*FORMS], "description": "If the name's ending does not say it."},
        "column": {"type": "string", "description": "Of TSV: numbers or names, with commas."},
        "api_key": _KEY,
    }


def _answer(what: str, kind: str, schema: _Schema) -> _Schema:
    return {"description": what, "content": {kind: {"schema": schema}}}


def _json(schema: _Schema, what: str) -> _Schema:
    return _answer(what, "application/json", schema)


def _refusals(numbers: Sequence[int]) -> _Schema:
    schema = {"$ref": "#/components/schemas/Error"}
    return {
        str(number): _json(schema, _REFUSALS.get(number, "It is not there.")) for number in numbers
    }


def _in_path(name: str) -> _Schema:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT}


def _get(
    what: str,
    answer: _Schema,
    refusals: Sequence[int] = (),
    parameters: Sequence[_Schema] = (),
    needed: Sequence[_Schema] = (),
) -> _Schema:
    operation: _Schema = {
        "summary": what,
        "responses": {"200": answer} | _refusals(sorted({*_ALWAYS, *refusals})),
    }
    if parameters:
        operation["parameters"] = [*parameters]
    if needed:
        operation["security"] = [*needed]
    return {"get": operation}


def _post(
    what: str,
    fields: _Schema,
    required: Sequence[str],
    answer: _Schema,
    needed: Sequence[_Schema],
    kinds: Sequence[str] = (
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ),
) -> _Schema:
    schema = _record(fields, required)
    operation: _Schema = {
        "summary": what,
        "requestBody": {"required": True, "content": {kind: {"schema": schema} for kind in kinds}},
        "responses": {"200": answer} | _refusals(sorted({*_ALWAYS, *_WORK})),
    }
    if needed:
        operation["security"] = [*needed]
    return {"post": operation}
