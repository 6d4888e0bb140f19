"""Two checkpoints side by side, in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from nmt_moe.report.page import write_report
from tests.report import contents
from tests.report.browser import Seen, draw_all, opened, overflow, started
from tests.report.test_page_report import sections

FIRST, SECOND = "data/lm/moe/checkpoint_best.pt", "data/lm/other/checkpoint_best.pt"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as found:
        yield found


@pytest.fixture(scope="module")
def seen(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """A page for both tests: what one opens the other does not look at."""
    path = tmp_path_factory.mktemp("page") / "compare.html"
    pair = [
        contents.content(checkpoint=FIRST),
        contents.content(
            checkpoint=SECOND, layers=("encoder.2",), experts=16, seed=2, labels=False
        ),
    ]
    pair[0]["data"]["perplexity"], pair[1]["data"]["perplexity"] = 8.0, 6.0
    write_report(pair, path)
    found = opened(browser, path)
    yield found
    assert found.messages == []
    found.page.context.close()


def test_both_and_their_differences(seen: Seen) -> None:
    page = seen.page
    expect(page.locator("h1")).to_have_text("moe and other")
    wanted = ["overview", "model", "balance", "specialisation", "details"]
    assert sections(page) == wanted
    row = page.locator("#overview tbody tr").first.locator("th, td")
    assert row.all_inner_texts() == ["Perplexity", "8.00", "6.00", "−2.00 (−25.0\u00a0%)"]
    assert page.locator("#model .model").count() == 2
    assert page.locator("#model .block.experts").count() == 3
    draw_all(page)
    first, second = page.locator("#balance .chart").all()
    assert first.evaluate("node => node.data.map((line) => line.y.length)") == [32, 16]
    assert second.evaluate("node => node.data.map((line) => line.name)") == ["moe"]
    expect(page.locator("#balance")).to_contain_text("other has no experts here.")
    bars = page.locator("#specialisation .chart").first.evaluate("node => node.data[0].y")
    assert bars == ["encoder.2, moe", "decoder.1, moe", "encoder.2, other"]


def test_details_under_a_switch(seen: Seen) -> None:
    page = seen.page
    expect(page.locator("#a-experts")).to_be_visible()
    expect(page.locator("#b-experts")).to_be_hidden()
    page.locator("#details").get_by_role("button", name="other").click()
    expect(page.locator("#a-experts")).to_be_hidden()
    panel = page.locator("#b-experts")
    expect(panel.locator("tbody tr")).to_have_count(16)
    panel.get_by_role("button", name="Expert").click()
    numbers = panel.locator("tbody a").all_inner_texts()
    assert numbers == [str(number) for number in range(16)]
    panel.locator("tbody tr").nth(2).click()
    expect(page.locator("dialog h2")).to_have_text("Expert 2 of encoder.2")
    expect(page.locator("dialog")).to_contain_text("other, ")
    page.keyboard.press("Escape")
    draw_all(page)
    assert page.locator("#b-balance .chart .main-svg").count() >= 1


def test_a_dense_one_beside_one_with_experts(browser: Browser, tmp_path: Path) -> None:
    pair = [contents.content(layers=(), checkpoint=FIRST), contents.content(checkpoint=SECOND)]
    write_report(pair, tmp_path / "compare.html")
    found = opened(browser, tmp_path / "compare.html", width=360)
    draw_all(found.page)
    assert overflow(found.page) <= 0
    expect(found.page.locator("#overview")).to_contain_text("This checkpoint is dense")
    assert found.messages == []
    found.page.context.close()


def test_two_dense_ones(browser: Browser, tmp_path: Path) -> None:
    pair = [contents.content(layers=(), checkpoint=name) for name in (FIRST, SECOND)]
    write_report(pair, tmp_path / "compare.html")
    found = opened(browser, tmp_path / "compare.html")
    assert sections(found.page) == ["overview", "model", "details"]
    draw_all(found.page)
    assert found.messages == []
    found.page.context.close()
