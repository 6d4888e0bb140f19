"""A headless Chromium that looks at a page and notes what went wrong there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

_TIMEOUT = 60_000  # milliseconds, as other work may hold a machine up
expect.set_options(timeout=_TIMEOUT)

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def executable() -> str:
    """The browser of the variable CHROMIUM, or on PATH; skips the test if there is none."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        reason = f"no browser: set CHROMIUM, or install one of {', '.join(_NAMES)}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return found


@contextmanager
def started() -> Iterator[Browser]:
    """A browser that ends with the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Seen:
    """What a page has done: console messages and errors, and the addresses it asked for."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def opened(
    browser: Browser, path: Path, width: int = 1200, height: int = 900, **options: Any
) -> Seen:
    """A page opened from disk, in a window of its own; other options are of the window."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    seen = Seen(context.new_page())
    seen.page.on("console", lambda message: seen.messages.append(message.text))
    seen.page.on("pageerror", lambda error: seen.messages.append(str(error)))
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.set_default_timeout(_TIMEOUT)
    seen.page.goto(path.as_uri())
    return seen


def draw_all(page: Page) -> None:
    """Scroll to each visible chart, which draws it."""
    for chart in page.locator(".chart:visible").all():
        chart.scroll_into_view_if_needed()
        chart.locator(".main-svg").first.wait_for()


def overflow(page: Page) -> int:
    """CSS pixels by which the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))
