"""The page to translate on: one file of HTML, with its styles, scripts and texts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """The file, and what it may load."""

    html: bytes
    policy: str
    """Its Content-Security-Policy."""


def page() -> Page:
    """The page."""
    html = "<!doctype html><html lang='en'><title>nmt-moe</title><h1>nmt-moe</h1></html>"
    return Page(html.encode(), "default-src 'none'; connect-src 'self'; frame-ancestors 'none'")
