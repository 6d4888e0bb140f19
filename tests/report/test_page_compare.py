"""Two checkpoints side by side, in a real browser."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from nmt_moe.report.page import write_report
from tests.report import contents
from tests.report.browser import Window, draw_all, overflow
from tests.report.test_page_report import sections

FIRST, SECOND = "data/lm/moe/checkpoint_best.pt", "data/lm/other/checkpoint_best.pt"


@pytest.fixture
def page(window: Window, tmp_path: Path) -> Page:
    pair = [
        contents.content(checkpoint=FIRST),
        contents.content(
            checkpoint=SECOND, layers=("encoder.2",), experts=16, seed=2, labels=False
        ),
    ]
    pair[0]["data"]["perplexity"], pair[1]["data"]["perplexity"] = 8.0, 6.0
    return opened(window, tmp_path, pair)


def opened(window: Window, folder: Path, pair: list[dict[str, Any]], width: int = 1200) -> Page:
    write_report(pair, folder / "compare.html")
    return window.open(folder / "compare.html", width)


def test_both_and_their_differences(page: Page) -> None:
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


def test_details_under_a_switch(page: Page) -> None:
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


def test_a_dense_one_beside_one_with_experts(window: Window, tmp_path: Path) -> None:
    pair = [contents.content(layers=(), checkpoint=FIRST), contents.content(checkpoint=SECOND)]
    page = opened(window, tmp_path, pair, width=360)
    draw_all(page)
    assert overflow(page) <= 0
    expect(page.locator("#overview")).to_contain_text("This checkpoint is dense")


def test_two_dense_ones(window: Window, tmp_path: Path) -> None:
    pair = [contents.content(layers=(), checkpoint=name) for name in (FIRST, SECOND)]
    page = opened(window, tmp_path, pair)
    assert sections(page) == ["overview", "model", "details"]
    draw_all(page)
