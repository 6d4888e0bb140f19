"""The page for all: light and dark, phone and desktop, three languages, and screen readers."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.report.browser import Window, overflow
from tests.serve.fake import Fake
from tests.serve.visits import translated

PHONE = dict(width=360, height=740)


def rich(page: Page) -> None:
    """All that can be on the page at once."""
    translated(page, "Two dogs run. A cat.\nsleeps", "TWO DOGS RUN. A CAT.SLEEPS")
    page.locator("#chosen").set_input_files(
        {"name": f"{'long-name-' * 12}.txt", "mimeType": "text/plain", "buffer": b"a"}
    )
    page.locator("#chosen").set_input_files(
        {"name": "table.tsv", "mimeType": "text/plain", "buffer": b"id\ttext"}
    )
    page.get_by_label("Column (number or name)").fill("none")
    page.get_by_role("button", name="Translate the column").click()
    expect(page.locator("#files").get_by_text("no such column")).to_be_visible()
    expect(page.get_by_role("link", name="Download")).to_be_visible()
    page.get_by_text("Experts of each wordpiece").click()
    page.locator(".chip").first.wait_for()
    page.locator(".chip").first.click()
    page.locator(".sentence").first.click()
    expect(page.locator("#alternatives")).to_be_visible()
    page.locator(".word").nth(1).hover()


def found(page: Page) -> list[str]:
    """What axe-core holds against the page."""
    page.wait_for_timeout(300)  # colours change for a moment
    results = Axe().run(page).response
    return [
        f"{one['impact']} {one['id']}: {node['html']} {node['failureSummary']}"
        for one in results["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [{}, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(browser: Window, fake: Fake, dark: bool, size: dict[str, int]) -> None:
    page = browser.visit(fake.url, dark=dark, **size)
    page.locator("#from option").first.wait_for(state="attached")
    assert found(page) == []
    rich(page)
    assert found(page) == []
    assert overflow(page) <= 0


def test_axe_finds_nothing_where_something_is_wrong(browser: Window, fake: Fake) -> None:
    fake.token = "secret"
    page = browser.visit(fake.url)
    expect(page.get_by_role("dialog")).to_be_visible()
    assert found(page) == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_be_visible()
    assert found(page) == []


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_dark_follows_the_system_until_its_reader_chooses(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    light = background(page)
    page.emulate_media(color_scheme="dark")
    dark = background(page)
    assert sum(map(int, re.findall(r"\d+", light))) > 600
    assert sum(map(int, re.findall(r"\d+", dark))) < 120
    switch = page.get_by_role("switch", name="Dark colours")
    expect(switch).to_be_checked()
    switch.click()
    assert background(page) == light
    expect(switch).not_to_be_checked()
    page.reload()
    assert background(page) == light  # remembered
    page.emulate_media(color_scheme="light")
    switch.click()
    assert background(page) == dark


@pytest.mark.parametrize("width", [320, 375, 600, 801, 1024, 1920])
def test_nothing_is_wider_than_the_window(window: Window, fake: Fake, width: int) -> None:
    page = window.visit(fake.url, width=width)
    translated(page, "one. " + "w" * 300, "ONE. " + "W" * 300)
    assert overflow(page) <= 0
    small = page.locator("button:visible, select:visible").evaluate_all(
        "nodes => nodes.map((node) => node.getBoundingClientRect()).filter((box) => "
        "box.height < 24 || box.width < 24 || box.right > innerWidth || box.left < 0).length"
    )
    assert small == 0  # all within reach, and large enough for a finger
    texts = [page.locator(place).bounding_box() for place in ("#typed", "#translation")]
    assert texts[0] and texts[1]
    beside = texts[1]["x"] > texts[0]["x"] + texts[0]["width"] - 1
    assert beside == (width > 800)


@contextmanager
def reader(window: Window, fake: Fake, locale: str) -> Iterator[Page]:
    browser = window.page.context.browser
    assert browser
    context = browser.new_context(locale=locale)
    try:
        page = context.new_page()
        page.goto(fake.url)
        yield page
    finally:
        context.close()


@pytest.mark.parametrize(
    ("locale", "language", "title", "hint"),
    [
        ("en-GB", "en", "Translate", "Click on a sentence"),
        ("de-AT", "de", "Übersetzen", "Ein Klick auf einen Satz"),
        ("fr-CA", "fr", "Traduire", "Cliquez sur une phrase"),
        ("ja-JP", "en", "Translate", "Click on a sentence"),
    ],
)
def test_the_page_speaks_its_readers_language(
    window: Window, fake: Fake, locale: str, language: str, title: str, hint: str
) -> None:
    with reader(window, fake, locale) as page:
        expect(page.locator("html")).to_have_attribute("lang", language)
        expect(page).to_have_title(title)
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        expect(page.locator("#hint")).to_contain_text(hint)


def test_its_language_is_chosen_in_a_menu(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    translated(page, "w" * 1200 + ".", "W" * 1200 + ".")
    expect(page.locator("#count")).to_have_text("1,201 characters")
    menu = page.get_by_label("Language of this page")
    assert menu.locator("option").all_text_contents() == ["English", "Deutsch", "Français"]
    menu.select_option("de")
    expect(page.locator("#count")).to_have_text("1.201 Zeichen")
    expect(page.get_by_label("Text, der übersetzt werden soll")).to_be_visible()
    expect(page.get_by_role("button", name="Sprachen tauschen")).to_be_visible()
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    page.get_by_label("Sprache dieser Seite").select_option("fr")
    expect(page.get_by_role("button", name="Copier")).to_be_visible()
    expect(page.locator("#typed")).to_have_attribute("placeholder", "Saisissez ou collez un texte")


def test_a_screen_reader_hears_the_translation_once_it_is_there(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    translated(page, "two dogs.", "TWO DOGS.")
    expect(page.get_by_role("status")).to_have_text("TWO DOGS.")
    long = "a dog runs far. " * 40
    translated(page, long, long.upper().strip())
    expect(page.get_by_role("status")).to_have_text("40 sentences translated")
    expect(page.get_by_role("main")).to_be_visible()
    for name in ("Text", "Translation"):
        expect(page.get_by_role("region", name=name, exact=True)).to_be_visible()


def test_the_keyboard_reaches_all_and_shows_where_it_is(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    translated(page, "one. two.", "ONE. TWO.")
    page.locator(".skip").focus()
    reached = []
    for _ in range(16):
        page.keyboard.press("Tab")
        where = page.evaluate("""() => {
            const node = document.activeElement;
            const style = getComputedStyle(node);
            const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
            return [node.id || node.classList[0] || node.tagName, ring];
        }""")
        if where[0] == "BODY":
            break
        reached.append(where)
    assert [name for name, _ in reached] == [
        "page-language", "dark", "from", "swap", "into", "typed", "clear", "choose",
        "sentence", "sentence", "copy", "SUMMARY", "A",
    ]  # fmt: skip
    assert [name for name, ring in reached if not ring] == ["typed"]  # it has a line above it
    page.reload()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Text to translate")).to_be_focused()
