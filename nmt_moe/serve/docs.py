"""The description of the protocol for people: a page without scripts."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator
from html import escape
from typing import Any

from nmt_moe.serve.codes import CODES

_STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
section { border-top: 1px solid #8888; padding: .5rem 0 1rem }
code { font-family: ui-monospace, monospace; overflow-wrap: break-word }
table { border-collapse: collapse }
th, td { text-align: left; padding: .1rem 1rem .1rem 0; vertical-align: top }
td:first-child { white-space: nowrap }
th { font-weight: 600 } h2 { font-size: 1.1rem } h3 { font-size: 1rem; margin: .5rem 0 0 }
"""
_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'"
"""The page's Content-Security-Policy."""


def as_page(described: dict[str, Any]) -> str:
    """The content of ``/docs``."""
    return "\n".join(_lines(described))


def _lines(described: dict[str, Any]) -> Iterator[str]:
    about = described["info"]
    title = escape(about["title"])
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{_STYLE}</style></head><body><main>"
    yield f"<h1>{title} {escape(about['version'])}</h1>"
    yield f"<p>{_marked(about['description'])} Errors are JSON, <code>{{&quot;error&quot;: "
    yield "&quot;...&quot;, &quot;code&quot;: &quot;...&quot;}</code>: a line, and one of the "
    yield "<a href='#codes'>codes</a>. For programs: <a href='openapi.json'>openapi.json</a>.</p>"
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield from _operation(path, method, operation)
    yield "<section id='codes'><h2>Codes of errors</h2><table>"
    for code, what in CODES.items():
        yield f"<tr><td><code>{code}</code><td>{_marked(what)}"
    yield "</table></section></main></body></html>"


def _marked(text: str) -> str:
    """A text whose names stand between backticks."""
    return re.sub("`(.*?)`", r"<code>\1</code>", escape(text))


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>"
    yield f"<p>{_marked(operation['summary'])}</p>"
    body = operation.get("requestBody")
    if body:
        kinds = body["content"]
        schema = next(iter(kinds.values()))["schema"]
        yield f"<h3>Fields</h3><p>{escape(', '.join(kinds))}</p>"
        yield "<table><tr><th>name<th>type<th>"
        for name, field in schema["properties"].items():
            needed = "" if name in schema["required"] else "May be left out."
            said = _marked(f"{field.get('description', '')} {needed}".strip())
            yield f"<tr><td><code>{escape(name)}</code><td>{escape(kind(field))}<td>{said}"
        yield "</table>"
    yield "<h3>Answers</h3><table>"
    for status, answer in operation["responses"].items():
        yield f"<tr><td>{status}<td>{_marked(answer['description'])}"
    yield "</table></section>"


def kind(schema: dict[str, Any]) -> str:
    """A schema in words."""
    if "anyOf" in schema:
        return " or ".join(map(kind, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(schema["enum"])
    if schema.get("format") == "binary":
        return "file"
    if schema["type"] == "array":
        return f"list of {kind(schema['items'])}"
    most = f", at most {schema['maxLength']:,} characters" if "maxLength" in schema else ""
    return f"{schema['type']}{most}"
