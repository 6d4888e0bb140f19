"""The description of the server's protocol: as OpenAPI, and for people."""

from html import escape
from typing import Any

from nmt_moe import __version__
from nmt_moe.serve.settings import Settings


def description(settings: Settings) -> dict[str, Any]:
    """The content of ``/openapi.json``."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "nmt-moe serve", "version": __version__},
        "paths": {},
    }


def as_page(described: dict[str, Any]) -> str:
    """The content of ``/docs``."""
    return f"<!doctype html><html lang='en'><title>{escape(described['info']['title'])}</title>"
