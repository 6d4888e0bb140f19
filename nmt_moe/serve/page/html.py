"""The HTML file of its parts, and the policy that lets it run these and nothing else."""

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from string import Template

from nmt_moe.common.scripting import linked


@dataclass(frozen=True)
class Page:
    """The file, and what it may load."""

    html: bytes
    policy: str
    """Its Content-Security-Policy."""


@cache
def page() -> Page:
    """The page: it loads nothing further, and asks only the server that it comes from."""
    style, script = _asset("page.css"), linked("start", _asset)
    texts = json.dumps(json.loads(_asset("texts.json")), ensure_ascii=False, separators=(",", ":"))
    html = Template(_asset("page.html")).substitute(
        style=style,
        script=script,
        texts=texts.replace("<", "\\u003c"),  # no text ends the element
    )
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "img-src": "data:",
        "connect-src": "'self'",
        "form-action": "'none'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",  # no text becomes HTML
    }
    return Page(html.encode(), "; ".join(f"{name} {value}" for name, value in policy.items()))


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")
