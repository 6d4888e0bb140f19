"""The page to translate on: one file of HTML, with its styles, scripts and texts."""

from nmt_moe.serve.page.html import Page, page

__all__ = ["Page", "page"]
