"""The page of training curves, in a real browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from nmt_moe.report.page import write_curves
from tests.report.browser import Window, draw_all, overflow


def run(name: str, scale: float, **more: list[float]) -> dict[str, Any]:
    updates = list(range(10, 1001, 10))
    perplexity = [scale * 1000 / update + 4 for update in updates]
    train = {"updates": updates, "ppl": perplexity, "lr": [0.001] * 100, "wall": updates}
    valid = {"updates": updates[9::10], "wps": [0] * 10, "ppl": [*perplexity[9:90:10], None]}
    train["wps"] = [5000.0] * 100
    return {"name": name, "train": train | more, "valid": valid}


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "curves.html"
    balance = {"moe_encoder_2_load_cv": [0.5] * 100}
    runs = [run("data/a/<b>moe</b>", 1, **balance), run("data/a/dense", 2)]
    write_curves(runs, path)
    return path


@pytest.fixture
def page(window: Window, curves: Path) -> Iterator[Page]:
    page = window.open(curves)
    yield page
    assert [url for url in window.requests if not url.startswith("data:")] == [page.url]


def test_runs_lie_over_each_other(page: Page) -> None:
    draw_all(page)
    chart = page.locator("[data-figure=ppl] .chart")
    lines = chart.evaluate(
        "node => node.data.map((line) => [line.x.length, line.y.at(-1), line.line.color])"
    )
    colours = [line[2] for line in lines]
    assert [line[:2] for line in lines] == [[100, 5.0], [10, None], [100, 6.0], [10, None]]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert chart.evaluate("node => node.layout.yaxis.type") == "log"
    assert chart.locator(".legendtext").all_text_contents() == ["<b>moe</b>", "dense"]
    speed = page.locator("[data-figure=wps] .chart")
    assert speed.evaluate("node => node.data.length") == 2  # fairseq's 0 of validation is none
    chart = page.locator("[data-figure=moe_encoder_2_load_cv]")
    expect(chart.locator("h3")).to_have_text("encoder 2: CV of load")
    assert chart.locator(".chart").evaluate("node => node.data.length") == 1


def test_the_table_of_the_runs(page: Page) -> None:
    row = page.locator("#overview tbody tr").first.locator("th, td")
    wanted = ["<b>moe</b>", "1,000", "5.00", f"{1000 / 900 + 4:.2f}", "900", "5,000"]
    assert row.all_inner_texts() == wanted


def test_figures_can_be_chosen(page: Page) -> None:
    expect(page.locator("[data-figure=wall]")).to_be_hidden()
    page.get_by_text("Choice of figures").click()
    page.get_by_role("checkbox", name="Seconds since the start").check()
    page.get_by_role("checkbox", name="Learning rate").uncheck()
    expect(page.locator("[data-figure=wall]")).to_be_visible()
    expect(page.locator("[data-figure=lr]")).to_be_hidden()
    draw_all(page)
    page.locator("[data-figure=wall]").get_by_label("logarithmic").check()
    kind = page.locator("[data-figure=wall] .chart").evaluate("node => node.layout.yaxis.type")
    assert kind == "log"


def test_phone_width_and_paper(window: Window, curves: Path, tmp_path: Path) -> None:
    page = window.open(curves, width=360, dark=True)
    draw_all(page)
    assert overflow(page) <= 0
    page.pdf(path=str(tmp_path / "curves.pdf"))
    assert (tmp_path / "curves.pdf").stat().st_size > 10_000
