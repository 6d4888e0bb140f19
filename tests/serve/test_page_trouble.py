"""What goes wrong is one clear line, and the page gets over it."""

import json
import re
from importlib import resources

import pytest
from playwright.sync_api import Page, expect

from nmt_moe.serve.codes import CODES
from tests.report.browser import Window
from tests.serve.fake import Fake, Fault
from tests.serve.visits import translated, translation, type_text

AWAY = "The server does not answer. This page tries again by itself."


def line(page: Page) -> str:
    return page.locator("#trouble").inner_text().split("\n")[0]


def own(browser: Window) -> list[str]:
    """The messages of the page; the browser itself notes each answer that is no success."""
    return [text for text in browser.messages if not text.startswith("Failed to load resource")]


def test_a_server_that_is_killed_and_comes_back(browser: Window, fake: Fake) -> None:
    page = browser.visit(fake.url)
    translated(page, "a dog.", "A DOG.")
    fake.stop()
    type_text(page, "a cat.")
    expect(page.get_by_role("alert")).to_contain_text(AWAY)
    expect(page.locator(".sentence.stale")).to_have_text("A DOG.")  # what was there stays, pale
    fake.start()
    expect(translation(page)).to_have_text("A CAT.")
    expect(page.locator(".stale")).to_have_count(0)
    expect(page.get_by_role("alert")).to_be_hidden()
    assert own(browser) == []


def test_trying_again_by_hand(browser: Window, fake: Fake) -> None:
    page = browser.visit(fake.url)
    fake.stop()
    type_text(page, "a cat.")
    expect(page.get_by_role("alert")).to_contain_text(AWAY)
    fake.start()
    asked = page.evaluate("""() => {
        const { fetch } = window;
        let count = 0;
        window.fetch = (...given) => {
            count += 1;
            return fetch(...given);
        };
        document.getElementById("retry").click();
        window.fetch = fetch;
        return count;
    }""")
    assert asked == 1  # at once
    expect(translation(page)).to_have_text("A CAT.")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_server_that_dies_within_an_answer(browser: Window, fake: Fake) -> None:
    page = browser.visit(fake.url)
    first = {"index": 0, "line": 0, "source": "a.", "translation": "A."}
    page.route("**/api/stream", lambda route: route.fulfill(
        content_type="text/event-stream",
        body=f"event: sentence\ndata: {json.dumps(first)}\n\n",
    ))  # fmt: skip
    type_text(page, "a. b.")
    expect(page.get_by_role("alert")).to_contain_text(AWAY)
    page.unroute("**/api/stream")
    expect(translation(page)).to_have_text("A. B.")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_model_that_is_away_says_why_and_comes_back(browser: Window, fake: Fake) -> None:
    page = browser.visit(fake.url)
    fake.faults["api/stream"] = Fault(503, "model 'm' ended: out of memory; it starts anew <b>")
    type_text(page, "a dog.")
    expect(page.get_by_role("alert")).to_contain_text(
        "The model cannot be used now: model 'm' ended: out of memory; it starts anew <b>"
    )
    fake.faults.clear()
    expect(translation(page)).to_have_text("A DOG.")
    expect(page.get_by_role("alert")).to_be_hidden()
    assert own(browser) == []


def test_an_error_within_the_stream(browser: Window, fake: Fake) -> None:
    page = browser.visit(fake.url)
    body = 'event: error\ndata: {"error": "the model ended"}\n\n'
    page.route(
        "**/api/stream", lambda route: route.fulfill(content_type="text/event-stream", body=body)
    )
    type_text(page, "a dog.")
    expect(page.get_by_role("alert")).to_contain_text("The model cannot be used now: the model end")
    page.unroute("**/api/stream")
    expect(translation(page)).to_have_text("A DOG.")


def test_a_model_that_is_being_loaded_or_broken(browser: Window, fake: Fake) -> None:
    fake.state = "loading"
    page = browser.visit(fake.url)
    expect(page.locator("#trouble-line")).to_have_text("The model is being loaded.")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    languages = page.locator("#into option").all_text_contents()
    assert languages == ["Deutsch", "العربية"]  # they are known before
    fake.state, fake.error = "failed", "m/model.pt is no checkpoint"
    expect(page.get_by_role("alert")).to_contain_text(
        "The model cannot be used now: m/model.pt is no checkpoint"
    )
    fake.state, fake.error = "ready", None
    expect(page.get_by_role("alert")).to_be_hidden()
    translated(page, "a dog.", "A DOG.")


def test_a_server_without_models(browser: Window, fake: Fake) -> None:
    pairs, fake.pairs = fake.pairs, []
    page = browser.visit(fake.url)
    expect(page.get_by_role("alert")).to_contain_text("The server has no models.")
    fake.pairs = pairs
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.get_by_label("Translate into")).to_have_value("de")


def test_a_busy_server_is_asked_later(browser: Window, fake: Fake) -> None:
    page = browser.visit(fake.url)
    fake.faults["api/stream"] = Fault(429, "too many", retry_after=4)
    type_text(page, "a dog.")
    expect(page.get_by_role("alert")).to_contain_text("The server is busy.")
    asked = len(fake.of("api/stream"))
    page.wait_for_timeout(1500)
    assert len(fake.of("api/stream")) == asked  # not before it said
    fake.faults.clear()
    expect(translation(page)).to_have_text("A DOG.")


def test_what_is_refused_is_not_asked_again(browser: Window, fake: Fake) -> None:
    page = browser.visit(fake.url)
    fake.faults["api/stream"] = Fault(413, "the text has more than 5,000 characters: send less")
    type_text(page, "a dog.")
    expect(page.get_by_role("alert")).to_contain_text(
        "The server refuses this: the text has more than 5,000 characters: send less"
    )
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    asked = len(fake.of("api/stream"))
    page.wait_for_timeout(1500)
    assert len(fake.of("api/stream")) == asked
    fake.faults.clear()
    translated(page, "a cat.", "A CAT.")
    expect(page.get_by_role("alert")).to_be_hidden()


@pytest.mark.parametrize(
    ("language", "wanted"),
    [
        ("en", ["has more than 5,000 characters.", "has more than 10 MiB.", "of this kind"]),
        ("de", ["hat mehr als 5.000 Zeichen.", "hat mehr als 10 MiB.", "dieser Art"]),
        ("fr", ["dépasse 5\u202f000 caractères.", "dépasse 10 Mio.", "de ce type"]),
    ],
)
def test_what_is_refused_is_said_in_the_readers_language(
    browser: Window, fake: Fake, language: str, wanted: list[str]
) -> None:
    page = browser.visit(fake.url)
    page.locator("#from option").first.wait_for(state="attached")
    fake.faults["api/stream"] = Fault(400, "the line", code="too_long", limit=5000)
    page.locator("#typed").fill("a dog.")
    expect(page.get_by_role("alert")).to_contain_text("5,000")
    page.locator("#page-language").select_option(language)  # after it was said
    expect(page.get_by_role("alert")).to_contain_text(wanted[0])
    rows = page.locator("#files li .state")
    for number, fault in enumerate(
        [
            Fault(413, "the line", code="too_large", limit=10),
            Fault(400, "the line", code="file_type"),
            Fault(400, "the line", code="one that will come"),
        ]
    ):
        fake.faults["translate_file"] = fault
        page.locator("#chosen").set_input_files(
            {"name": "a.txt", "mimeType": "text/plain", "buffer": b"a"}
        )
        line = [*wanted[1:], "the line"][number]
        expect(rows.nth(number)).to_have_text(re.compile(re.escape(line)))


def test_each_text_of_a_code_is_of_a_code_that_the_server_has() -> None:
    script = (resources.files("nmt_moe.serve.page") / "assets" / "refusals.js").read_text()
    named = re.findall(r"^  (\w+): \"\w+\",$", script, re.MULTILINE)
    assert len(named) > 8 and set(named) <= CODES.keys()


def test_what_takes_too_long_is_not_tried_again_by_itself(browser: Window, fake: Fake) -> None:
    page = browser.visit(fake.url)
    fake.faults["api/stream"] = Fault(504, "more than 120 seconds", code="slow_translation")
    type_text(page, "a dog.")
    expect(page.get_by_role("alert")).to_contain_text("The translation takes too long.")
    asked = len(fake.of("api/stream"))
    page.wait_for_timeout(1300)
    assert len(fake.of("api/stream")) == asked
    fake.faults.clear()
    page.get_by_role("button", name="Try again").click()
    expect(translation(page)).to_have_text("A DOG.")


def test_what_was_there_before_a_failure_cannot_be_copied(browser: Window, fake: Fake) -> None:
    page = browser.visit(fake.url)
    copy = page.get_by_role("button", name="Copy")
    translated(page, "a dog.", "A DOG.")
    expect(copy).to_be_enabled()
    fake.faults["api/stream"] = Fault(400, "the text is refused")
    type_text(page, "a cat.")
    expect(page.get_by_role("alert")).to_contain_text("the text is refused")
    expect(page.locator(".sentence.stale")).to_have_text("A DOG.")
    expect(copy).to_be_disabled()
    expect(page.locator("#timing")).to_be_empty()
    page.get_by_role("button", name="Swap the languages").click()
    expect(page.get_by_label("Text to translate")).to_have_value("a cat.")  # not of another text
    fake.faults.clear()
    translated(page, "a bird.", "A BIRD.")
    expect(copy).to_be_enabled()


def test_a_token_is_asked_for_and_kept_until_the_page_is_closed(
    browser: Window, fake: Fake
) -> None:
    fake.token = "secret"
    page = browser.visit(fake.url)
    dialog = page.get_by_role("dialog", name="A token is needed")
    expect(page.locator("#trouble-line")).to_have_text("The server asks for a token.")
    dialog.get_by_label("Token").fill("wrong")
    dialog.get_by_role("button", name="Use").click()
    expect(page.locator("#trouble-line")).to_have_text("The server does not accept this token.")
    dialog.get_by_label("Token").fill("secret")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    translated(page, "a dog.", "A DOG.")
    expect(page.get_by_role("alert")).to_be_hidden()
    page.reload()
    translated(page, "a cat.", "A CAT.")
    assert page.evaluate("Object.values(localStorage).join()").count("secret") == 0
    assert "secret" not in page.url
    assert own(browser) == []


def test_a_refusal_for_another_reason_asks_for_no_token(browser: Window, fake: Fake) -> None:
    page = browser.visit(fake.url)
    fake.faults["api/stream"] = Fault(403, "pages elsewhere may not ask this server")
    type_text(page, "a dog.")
    expect(page.locator("#trouble-line")).to_have_text(
        "The server refuses this: pages elsewhere may not ask this server"
    )
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_without_a_token_the_page_says_so(browser: Window, fake: Fake) -> None:
    fake.token = "secret"
    page = browser.visit(fake.url)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("alert")).to_contain_text("The server asks for a token.")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_files_that_cannot_be_translated_say_why(browser: Window, fake: Fake) -> None:
    page = browser.visit(fake.url)
    page.locator("#from option").first.wait_for(state="attached")
    fake.faults["translate_file"] = Fault(400, "picture.png is no text")
    page.locator("#chosen").set_input_files(
        {"name": "picture.png", "mimeType": "image/png", "buffer": b"\x89PNG"}
    )
    expect(page.locator("#files li")).to_contain_text("picture.png is no text")
    expect(page.get_by_role("link", name="Download")).to_have_count(0)
    fake.stop()
    page.locator("#chosen").set_input_files(
        {"name": "a.txt", "mimeType": "text/plain", "buffer": b"a"}
    )
    expect(page.locator("#files li").nth(1)).to_contain_text("The server does not answer.")
    assert own(browser) == []
