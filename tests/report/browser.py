"""A headless Chromium that looks at a page and notes what went wrong there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from playwright.sync_api import Page, expect, sync_playwright

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


@dataclass
class Window:
    """A window, in which one page after the other is opened from the same path.

    A new window takes seconds, and so does a new path, whose scripts are compiled again. Of the
    page that is open it knows console messages and errors, and the addresses it asked for.
    """

    page: Page
    path: Path
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: Path, width: int = 1200, height: int = 900, dark: bool = False) -> Page:
        """A copy of a page on disk, as if it were the first one."""
        shutil.copyfile(path, self.path)
        return self.visit(self.path.as_uri(), width, height, dark)

    def visit(self, url: str, width: int = 1200, height: int = 900, dark: bool = False) -> Page:
        """A page by its address."""
        self.leave()  # or a message of the page before could come after they are cleared
        self.messages.clear()
        self.requests.clear()
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(color_scheme="dark" if dark else "light", media="null")
        self.page.goto(url)
        return self.page

    def leave(self) -> None:
        """Leave the page: it does nothing more, and its messages have come."""
        self.page.goto("about:blank")


@contextmanager
def started() -> Iterator[Window]:
    """The window of a browser that ends with the block."""
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        window = Window(browser.new_page(), Path(folder, "page.html"))
        window.page.on("console", lambda message: window.messages.append(message.text))
        window.page.on("pageerror", lambda error: window.messages.append(str(error)))
        window.page.on("request", lambda request: window.requests.append(request.url))
        window.page.set_default_timeout(_TIMEOUT)
        yield window
        browser.close()


def draw_all(page: Page) -> None:
    """Scroll to each visible chart, which draws it."""
    for chart in page.locator(".chart:visible").all():
        chart.scroll_into_view_if_needed()
        chart.locator(".main-svg").first.wait_for()


def overflow(page: Page) -> int:
    """CSS pixels by which the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))
