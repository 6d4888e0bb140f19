"""What the tests of the pages share."""

from collections.abc import Iterator

import pytest

from tests.report.browser import Window, started


@pytest.fixture(scope="module")
def browser() -> Iterator[Window]:
    with started() as window:
        yield window


@pytest.fixture
def window(browser: Window) -> Iterator[Window]:
    """A window in which nothing goes wrong."""
    yield browser
    assert browser.messages == []
