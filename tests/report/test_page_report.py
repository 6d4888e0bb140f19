"""The report of a checkpoint, in a real browser."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from nmt_moe.report.page import write_report
from tests.report import contents
from tests.report.browser import Window, draw_all, overflow

SECTIONS = ["overview", "model", "balance", "experts", "specialisation", "sentences"]


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    """32 experts per layer, of which expert 7 of the encoder knows a rare word."""
    made = contents.content()
    made["layers"][0]["details"][7]["contexts"][3]["after"] += " unmistakable"
    made["layers"][0]["details"][9]["typical"][4]["token"] = "▁Unmistakable"
    return made


@pytest.fixture(scope="module")
def report(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report([content], path)
    return path


@pytest.fixture
def page(window: Window, report: Path) -> Page:
    """The report, opened anew."""
    return window.open(report)


@pytest.fixture
def drawn(window: Window, report: Path) -> Page:
    """The report with all its charts, for tests that leave it as it is: opened before them."""
    if not window.page.evaluate("window.asDrawn"):
        draw_all(window.open(report))
        window.page.evaluate("window.asDrawn = true")
    return window.page


def written(tmp_path: Path, *made: dict[str, Any]) -> Path:
    write_report(made, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    return tmp_path / "report.html"


def experts(page: Page) -> list[int]:
    """The experts in the rows that are shown."""
    return [int(text) for text in page.locator("table.experts tbody tr a").all_inner_texts()]


def column(page: Page, title: str) -> list[str]:
    return page.locator(f'table.experts td[data-title="{title}"]').all_inner_texts()


def sections(page: Page) -> list[str]:
    return [part.get_attribute("id") or "" for part in page.locator("main > section").all()]


def test_sections_are_there_and_nothing_else_is_loaded(drawn: Page, window: Window) -> None:
    assert sections(drawn) == SECTIONS
    for name in SECTIONS:
        expect(drawn.locator(f"#{name}")).to_be_visible()
        expect(drawn.locator(f"nav a[href='#{name}']")).to_be_visible()
    assert drawn.locator(".chart .main-svg").count() >= 7
    assert [url for url in window.requests if not url.startswith("data:")] == [drawn.url]


def test_overview_and_model_show_the_figures(drawn: Page) -> None:
    page = drawn
    overview = page.locator("#overview").inner_text()
    for text in ("data/run/training/checkpoint_best.pt", "en → de", "70,312", "2,400"):
        assert text in overview
    assert page.locator(".block.experts").count() == 2
    labels = page.locator(".stack").nth(0).locator(".block strong")
    assert labels.all_inner_texts() == ["Embedding", "LSTM 1", "LSTM 2", "32 experts", "LSTM 3"]
    boxes = [block.bounding_box() for block in page.locator(".stack").nth(0).locator("li").all()]
    heights = [box["y"] for box in boxes if box]
    assert heights == sorted(heights, reverse=True)  # from the bottom to the top
    assert page.locator(".block.experts").nth(0).locator(".on").count() == 4


def test_load_chart_shows_the_counts_in_order(drawn: Page, content: dict[str, Any]) -> None:
    chart = drawn.locator("#balance .chart").first
    heights = chart.evaluate("node => node.data[0].y")
    counts = content["layers"][0]["counts"]
    mean = sum(counts) / len(counts)
    assert heights == pytest.approx([count / mean for count in sorted(counts, reverse=True)])
    importance = content["layers"][0]["importance"]
    order = sorted(range(len(counts)), key=lambda expert: -counts[expert])
    mean = sum(importance) / len(importance)
    shown = chart.evaluate("node => node.data[1].y")
    assert shown == pytest.approx([importance[expert] / mean for expert in order], rel=1e-5)


def test_search_looks_into_contexts_and_tokens(drawn: Page, content: dict[str, Any]) -> None:
    page = drawn
    search = page.get_by_role("searchbox")
    search.fill("UNMISTAK")
    rows = page.locator("table.experts tbody tr")
    expect(rows).to_have_count(2)
    assert set(experts(page)) == {7, 9}
    row = rows.filter(has=page.get_by_role("link", name="7", exact=True))
    token = content["layers"][0]["details"][7]["contexts"][3]["token"].strip("▁")
    assert row.locator("mark").inner_text() == token  # the context that was found
    search.fill("no expert knows <this>")
    expect(rows).to_have_count(0)
    expect(page.locator("#experts .status")).to_contain_text("<this>")
    search.fill("")
    expect(rows).to_have_count(25)


def test_specialisation_against_the_baseline(drawn: Page) -> None:
    rows = drawn.locator("#specialisation tbody tr")
    assert rows.count() == 4
    cells = rows.nth(0).locator("th, td").all_inner_texts()
    assert cells == [
        "encoder.2",
        "wordpieces",
        "1.930",
        "0.040",
        "1.890",
        "7.100",
        "27.2\u00a0%",
        "4.600",
    ]


def test_attention_beside_the_sentence(drawn: Page, content: dict[str, Any]) -> None:
    page = drawn
    page.get_by_label("Sentence", exact=True).select_option(index=1)
    chart = page.locator("#sentences .chart")
    chart.scroll_into_view_if_needed()
    chart.locator(".main-svg").first.wait_for()
    weights = chart.evaluate("node => node.data[0].z")
    wanted = content["sentences"][1]["attention"]
    assert [x for row in weights for x in row] == pytest.approx(
        [x for row in wanted for x in row], rel=1e-2
    )
    ticks = chart.locator(".ytick text").all_text_contents()
    assert ticks == content["sentences"][1]["predicted"]


def test_charts_wait_until_they_are_in_view(page: Page) -> None:
    last = page.locator(".chart").last
    assert last.get_attribute("data-drawn") is None
    last.scroll_into_view_if_needed()
    last.locator(".main-svg").first.wait_for()


def test_table_sorts_by_each_column(page: Page, content: dict[str, Any]) -> None:
    layer = content["layers"][0]
    order = sorted(range(32), key=lambda expert: -layer["counts"][expert])
    assert experts(page) == order[:25]
    heads = page.locator("table.experts thead")
    heads.get_by_role("button", name="Load").click()
    assert experts(page) == order[::-1][:25]
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Load")
    heads.get_by_role("button", name="Expert").press("Enter")  # by the keyboard
    assert experts(page) == list(range(25))
    page.get_by_role("button", name="Next").click()
    assert experts(page) == list(range(25, 32))
    expect(page.locator("#experts .status")).to_have_text("26 to 32 of 32 experts")
    heads.get_by_role("button", name="Importance").click()
    by_importance = sorted(range(32), key=lambda expert: -layer["importance"][expert])
    assert experts(page) == by_importance[:25]
    heads.get_by_role("button", name="Typical tokens").click()
    first = [cell.split("\n")[0] for cell in column(page, "Typical tokens")]
    found = [details["typical"] for details in layer["details"]]
    tokens = sorted((typical[0]["token"] for typical in found if typical), key=str.lower)
    assert first == tokens[:25]
    page.get_by_role("button", name="Next").click()
    assert experts(page)[-1] == 16  # the dead one has no tokens, and comes last
    for _ in ("falling", "rising"):
        heads.get_by_role("button", name="Top gate").click()
        page.get_by_role("button", name="Next").click()
        assert experts(page)[-1] == 16


def test_an_expert_opens_by_click_key_and_link(page: Page, content: dict[str, Any]) -> None:
    detail = content["layers"][0]["details"][3]
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="Expert").click()
    page.locator("table.experts tbody tr").nth(3).locator("td").nth(2).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("h2")).to_have_text("Expert 3 of encoder.2")
    shown = dialog.locator(".contexts li").all_inner_texts()
    for text, context in zip(shown, detail["contexts"], strict=True):
        line = context["before"] + context["token"].replace("▁", " ") + context["after"]
        assert " ".join(text.split()) == f"{context['gate']:.2f} {line.strip()}"
    marks = dialog.locator("mark").all_inner_texts()
    assert marks == [context["token"].strip("▁") for context in detail["contexts"]]
    pieces = dialog.locator("tbody .piece").all_inner_texts()
    assert pieces == [typical["token"] for typical in detail["typical"]]
    nearest = dialog.locator(".nearest a")
    numbers = [f"Expert {found['expert']}" for found in detail["nearest"]]
    assert nearest.all_inner_texts() == numbers
    nearest.first.click()
    expect(dialog.locator("h2")).to_have_text(f"{numbers[0]} of encoder.2")
    page.go_back()
    expect(dialog.locator("h2")).to_have_text("Expert 3 of encoder.2")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.locator("table.experts tbody a").nth(5).press("Enter")
    expect(dialog.locator("h2")).to_have_text("Expert 5 of encoder.2")
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)


def test_other_layers_have_their_own_table(page: Page, content: dict[str, Any]) -> None:
    page.locator("#experts").get_by_role("button", name="decoder.1").click()
    counts = content["layers"][1]["counts"]
    assert experts(page)[0] == counts.index(max(counts))
    page.locator("table.experts tbody tr").first.click()
    expect(page.locator("dialog h2")).to_contain_text("of decoder.1")


def test_a_sentence_shows_its_experts(page: Page, content: dict[str, Any]) -> None:
    page.get_by_label("Sentence", exact=True).select_option(index=2)
    sentence = content["sentences"][2]
    rows = page.locator("#sentences .chips")
    for row, (layer, side) in enumerate([("encoder.2", "source"), ("decoder.1", "target")]):
        chips = rows.nth(row).locator(".chip")
        assert chips.locator(".piece").all_inner_texts() == sentence[side]
        for chip, gates in zip(chips.all(), sentence["experts"][layer], strict=True):
            shares = [text.split() for text in chip.locator(".share").all_inner_texts()]
            assert shares == [[str(expert), f"{gate:.2f}"] for expert, gate in gates]
    gates = sentence["experts"]["encoder.2"]
    chips = rows.nth(0).locator(".chip")
    chips.nth(1).click()
    top = gates[1][0][0]
    same = [top in [expert for expert, _ in found] for found in gates]
    assert [chip.get_attribute("aria-pressed") == "true" for chip in chips.all()] == same
    assert page.locator(".chip.other").count() == same.count(False)
    page.get_by_role("link", name=f"expert {top} of encoder.2").click()
    expect(page.locator("dialog h2")).to_have_text(f"Expert {top} of encoder.2")


def test_dark_scheme_and_its_change(window: Window, report: Path) -> None:
    def look(page: Page) -> tuple[str, str]:
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        text = page.locator("#model .chart .ytick text").first
        return background, text.evaluate("node => getComputedStyle(node).fill")

    def light(colour: str) -> bool:
        return sum(map(int, re.findall(r"\d+", colour)[:3])) > 3 * 128

    page = window.open(report, dark=True)
    draw_all(page)
    background, text = look(page)
    assert not light(background) and light(text)
    page.emulate_media(color_scheme="light")
    page.wait_for_function("color => getComputedStyle(document.body).backgroundColor != color",
                           arg=background)  # fmt: skip
    background, text = look(page)
    assert light(background) and not light(text)


def test_phone_width_needs_no_sideways_scrolling(window: Window, report: Path) -> None:
    page = window.open(report, width=360)
    draw_all(page)
    assert overflow(page) <= 0
    page.locator("table.experts tbody tr").first.click()
    assert overflow(page) <= 0
    box = page.get_by_role("dialog").bounding_box()
    assert box and box["width"] <= 360


def test_print_draws_everything_in_light(window: Window, report: Path, tmp_path: Path) -> None:
    page = window.open(report, dark=True)
    page.evaluate(
        """addEventListener("beforeprint", () => {
          window.printed = [document.querySelectorAll(".chart:not([data-drawn])").length,
            getComputedStyle(document.documentElement).getPropertyValue("--text").trim(),
            document.querySelector("#model .chart .ytick text").style.fill];
        })"""
    )
    page.pdf(path=str(tmp_path / "report.pdf"), prefer_css_page_size=True)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert page.evaluate("printed") == [0, "#1f2328", "rgb(31, 35, 40)"]
    assert page.locator("html.printing").count() == 0
    page.emulate_media(media="print")
    expect(page.locator("nav")).to_be_hidden()
    expect(page.locator("#experts .tools")).to_be_hidden()


def test_groups_of_a_hierarchy(window: Window, tmp_path: Path) -> None:
    made = contents.content(experts=32, groups=8, k=2)
    page = window.open(written(tmp_path, made))
    draw_all(page)
    charts = page.locator("#balance .panel").first.locator(".chart")
    assert charts.count() == 3
    counts = made["layers"][0]["counts"]
    groups = [sum(counts[at : at + 4]) for at in range(0, 32, 4)]
    mean = sum(groups) / 8
    assert charts.nth(1).evaluate("n => n.data[0].y") == pytest.approx([g / mean for g in groups])
    within = charts.nth(2).evaluate("n => n.data[0].z")
    wanted = [sorted(counts[at : at + 4], reverse=True) for at in range(0, 32, 4)]
    mean = sum(counts) / 32
    loads = [load for group in within for load in group]
    assert loads == pytest.approx([count / mean for group in wanted for count in group])
    page.get_by_role("button", name="Expert").click()
    assert column(page, "Group")[:5] == ["0", "0", "0", "0", "1"]


def test_language_model_without_labels(window: Window, tmp_path: Path) -> None:
    page = window.open(written(tmp_path, contents.language_model(labels=False)))
    assert sections(page) == SECTIONS
    draw_all(page)
    expect(page.locator("#specialisation")).to_contain_text("This data has no labels")
    assert page.locator("#sentences .chips").count() == 1
    assert page.locator("#sentences .chart").count() == 0
    assert "Top label" not in page.locator("table.experts thead").inner_text()
    assert "Source pieces" not in page.locator("#overview").inner_text()


def test_dense_checkpoint_says_so(window: Window, tmp_path: Path) -> None:
    made = contents.content(layers=())
    made["data"]["perplexity"] = float("inf")
    page = window.open(written(tmp_path, made))
    assert sections(page) == ["overview", "model", "sentences"]
    expect(page.locator("#overview")).to_contain_text("This checkpoint is dense")
    draw_all(page)
    assert page.locator("#sentences .chart").count() == 1


EVIL = '</script><img src=x onerror="window.hacked=1"><b>&amp;"\'\u2028`${1}'


def replaced(value: Any) -> Any:
    """The same content with markup as each text that comes from files."""
    if isinstance(value, dict):
        kept = {"kind", "gating", "task", "layer", "name"}
        return {key: v if key in kept else replaced(v) for key, v in value.items()}
    if isinstance(value, list):
        return [replaced(item) for item in value]
    return f"{value}{EVIL}" if isinstance(value, str) else value


def test_markup_in_the_data_stays_text(window: Window, tmp_path: Path) -> None:
    made = replaced(contents.content(experts=4, k=2))
    made["data"]["name"] += EVIL
    page = window.open(written(tmp_path, made))
    draw_all(page)
    assert f"checkpoint_best.pt{EVIL}" in (page.locator("h1").text_content() or "")
    assert EVIL in (page.locator("#overview").text_content() or "")
    assert EVIL in (page.locator("table.experts").text_content() or "")
    page.locator("table.experts tbody tr").first.click()
    assert (page.locator("dialog").text_content() or "").count(EVIL) > 8
    assert EVIL in (page.locator("#sentences .chips").first.text_content() or "")
    ticks = page.locator("#sentences .ytick text").all_text_contents()
    assert ticks[-1].startswith("</s></script><img src=x") and "<b>&amp;\"'" in ticks[-1]
    assert page.locator("main img, dialog img, main b b").count() == 0
    assert page.evaluate("window.hacked") is None
    assert [url for url in window.requests if not url.startswith(("data:", "file:"))] == []


def test_astral_characters_before_a_token(window: Window, tmp_path: Path) -> None:
    made = contents.content(experts=4, k=2)
    context = {"gate": 0.999, "before": "𝒳 😀 is", "token": "▁Zürich😀", "after": "s 😀."}
    made["layers"][0]["details"][0]["contexts"][0] = context
    page = window.open(written(tmp_path, made))
    page.goto(page.url + "#expert/0/encoder.2/0")
    first = page.locator("dialog .contexts li").first
    expect(first.locator("mark")).to_have_text("Zürich😀")
    assert first.locator(".context").inner_text() == "𝒳 😀 is Zürich😀s 😀."


def loading(window: Window, path: Path) -> float:
    """Milliseconds of the processor until a chart is drawn and the table sorts."""
    page = window.open(path, height=2000)
    session = page.context.new_cdp_session(page)
    # Of the page's thread: seconds on the clock would be those of other processes, too.
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.reload()
    page.locator(".chart .main-svg").first.wait_for()
    page.get_by_role("button", name="Expert").click()
    assert experts(page) == list(range(25))
    metrics = session.send("Performance.getMetrics")["metrics"]
    session.detach()
    return 1000 * next(m["value"] for m in metrics if m["name"] == "TaskDuration")


def test_words_instead_of_wordpieces(window: Window, tmp_path: Path) -> None:
    made = json.loads(json.dumps(contents.content(experts=4, k=2)).replace("\\u2581", ""))
    context = {"gate": 0.999, "before": "one two", "token": "three", "after": " four"}
    made["layers"][0]["details"][0]["contexts"][0] = context
    page = window.open(written(tmp_path, made))
    page.goto(page.url + "#expert/0/encoder.2/0")
    line = page.locator("dialog .context").first
    assert line.inner_text() == "one two three four"
    text = page.locator("#sentences .text").text_content() or ""
    assert text.startswith(" ".join(made["sentences"][0]["source"]))


@pytest.mark.slow
def test_thousands_of_experts(window: Window, tmp_path: Path) -> None:
    path = written(tmp_path, contents.content(experts=2048))
    assert path.stat().st_size < 15e6
    assert loading(window, path) < 3000
    page = window.open(path)
    draw_all(page)
    assert page.locator("table.experts tbody tr").count() == 25
    milliseconds = page.evaluate(
        """() => {
          const search = document.querySelector("input[type=search]");
          const began = performance.now();
          search.value = "breakfast";
          search.dispatchEvent(new Event("input"));
          return new Promise((done) => new MutationObserver(() => done(performance.now() - began))
            .observe(document.querySelector("table.experts tbody"), { childList: true }));
        }"""
    )
    assert milliseconds < 1000
    assert len(experts(page)) == 25


def test_the_data_of_the_page_is_small_and_plain(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert data and "<" not in data[1]
    store = json.loads(data[1])
    assert len(store["pieces"]) == len(set(store["pieces"])) < 200
    assert len(store["lines"]) == len(set(store["lines"])) <= 2 * 31 * 8


@pytest.mark.parametrize("dead", [False, True])
def test_attention_comes_before_all_figures(window: Window, tmp_path: Path, dead: bool) -> None:
    made = contents.content()
    verdict = "Attention is dead: it <stays>." if dead else "Attention follows the source."
    figures = dict(entropy=0.3, top_share=0.95, last_share=0.87, stuck=0.0)
    made["attention"] = {**figures, "dead": dead, "verdict": verdict}
    write_report([made], tmp_path / "report.html")
    page = window.open(tmp_path / "report.html")
    first = page.locator("#overview > p").first
    assert first.inner_text() == verdict
    assert page.locator("#overview .health.dead").count() == dead
    cards = page.locator("#overview .cards > div").all_inner_texts()
    assert [card.split("\n")[1] for card in cards[:4]] == [
        "0.30 bits",
        "95.0\u00a0%",
        "87.0\u00a0%",
        "0.0\u00a0%",
    ]
