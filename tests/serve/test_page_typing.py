"""The page translates what is typed, in a real browser."""

from playwright.sync_api import Page, Route, expect

from tests.report.browser import Window
from tests.serve.fake import ARABIC, HEBREW, Fake
from tests.serve.visits import marked_in_parts, translated, translation, type_text


def test_a_text_is_translated_while_it_is_typed(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    field = page.get_by_label("Text to translate")
    field.press_sequentially("two dogs run. a cat", delay=5)
    expect(translation(page)).to_have_text("TWO DOGS RUN. A CAT")
    field.press_sequentially(" sleeps.\nred", delay=5)
    expect(translation(page).locator(".line")).to_have_text(["TWO DOGS RUN. A CAT SLEEPS.", "RED"])
    assert len(fake.of("api/stream")) < 8  # not at each key
    assert fake.of("api/stream")[-1] == {
        "q": "two dogs run. a cat sleeps.\nred", "source": "en", "target": "de"
    }  # fmt: skip
    expect(page.locator("#count")).to_have_text("31 characters")
    field.fill(" ")
    expect(page.locator("#nothing")).to_be_visible()
    expect(translation(page)).to_be_empty()


def test_lines_and_the_space_between_sentences_stay(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    text = "one.  two.\n\n\nthree. four\n"
    translated(page, text, "ONE. TWO.THREE. FOUR")
    expect(translation(page).locator(".line")).to_have_text(
        ["ONE. TWO.", "", "", "THREE. FOUR", ""]
    )
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "ONE. TWO.\n\n\nTHREE. FOUR\n"
    expect(page.get_by_role("button", name="Copy")).to_be_visible()


def test_a_text_stays_when_the_page_is_loaded_anew(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    field = page.get_by_label("Text to translate")
    expect(field).to_have_value("")
    translated(page, "a dog.\nred", "A DOG.RED")
    page.reload()
    expect(translation(page)).to_have_text("A DOG.RED")
    expect(field).to_have_value("a dog.\nred")
    expect(page.locator("#count")).to_have_text("10 characters")
    page.get_by_role("button", name="Swap the languages").click()
    page.reload()
    expect(field).to_have_value("A DOG.\nRED")
    page.get_by_role("button", name="Clear the text").click()
    page.reload()
    expect(page.get_by_label("Translate into")).to_have_value("en")
    expect(field).to_have_value("")
    assert page.evaluate("Object.keys(localStorage).join()").count("text") == 0


def test_a_long_text_is_sent_in_parts(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    fake.limit = 250
    lines = [
        *("a dog runs.", "", "two dogs run. a cat sleeps. " * 15 + "red.", "\u2003", ""),
        *("words " * 60 + "end.", "".join(map(str, range(220))), "👩" * 300, "the last line."),
    ]
    text = "\n".join(lines)
    type_text(page, text)
    expect(translation(page)).to_contain_text("THE LAST LINE.")
    expect(translation(page)).to_have_attribute("aria-busy", "false")
    sent = [given["q"] for given in fake.of("api/stream")]
    assert len(sent) >= 8 and max(map(len, sent)) == 250  # as full as can be
    assert "".join("".join(sent).split()) == "".join(text.split())  # all of it, once
    assert sent[1].endswith("run.") and sent[2].startswith("a cat")  # between sentences
    expect(translation(page).locator(".line")).to_have_count(len(lines))
    expect(page.locator("#count")).to_have_text(f"{len(text):,} characters in {len(sent)} parts")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "\n".join(" ".join(line.split()).upper() for line in lines)
    page.locator(".sentence").last.hover()
    expect(page.locator("#mirror mark").first).to_contain_text("the")
    page.get_by_label("Text to translate").press("Control+End")
    page.keyboard.type(" red.")
    expect(page.locator(".sentence").last).to_have_text("RED.")
    assert [given["q"] for given in fake.of("api/stream")][len(sent) :] == [f"{sent[-1]} red."]


def test_typed_before_the_models_are_known_it_is_translated_once(
    window: Window, fake: Fake
) -> None:
    waiting: list[Route] = []
    window.page.route("**/api/models", lambda route: waiting.append(route))
    page = window.visit(fake.url)
    type_text(page, "two dogs")
    waiting[0].continue_()
    expect(translation(page)).to_have_text("TWO DOGS")
    page.wait_for_timeout(400)  # longer than it rests after a key
    page.unroute("**/api/models")
    assert len(fake.of("api/stream")) == 1


def test_an_older_request_is_cancelled_and_never_shown(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    gone: list[str] = []
    page.on("requestfailed", lambda request: gone.append(request.post_data or ""))
    fake.delay = 0.8
    type_text(page, "the old text. it is slow. it comes late.")
    expect(translation(page)).to_have_attribute("aria-busy", "true")
    expect(page.locator(".sentence").first).to_have_text("THE OLD TEXT.")  # as far as it is there
    fake.delay = 0
    shown = page.evaluate_handle("""() => {
        const seen = [];
        const place = document.getElementById("translation");
        new MutationObserver(() => seen.push(place.textContent))
            .observe(place, { childList: true, subtree: true, characterData: true });
        return seen;
    }""")
    translated(page, "new", "NEW")
    page.wait_for_timeout(1500)  # the old one would be complete
    expect(translation(page)).to_have_text("NEW")
    assert any("the old text" in body for body in gone)
    assert "LATE" not in str(shown.json_value())


def test_what_stays_is_shown_while_the_new_one_comes(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    translated(page, "one. two. three.", "ONE. TWO. THREE.")
    first = page.locator(".sentence").first.element_handle()
    fake.delay = 1
    type_text(page, "one. four.")
    expect(page.locator(".sentence.stale").first).to_have_text("TWO.")  # pale, but still there
    expect(translation(page)).to_have_text("ONE. FOUR.")
    assert page.evaluate("node => node.isConnected", first)  # the same node: nothing flickers


def test_languages_are_those_of_the_models(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    source, target = page.get_by_label("Translate from"), page.get_by_label("Translate into")
    assert source.locator("option").all_text_contents() == ["English", "Deutsch", "עברית"]
    assert target.locator("option").all_text_contents() == ["Deutsch", "العربية"]
    translated(page, "a dog.", "A DOG.")
    target.select_option("ar")
    expect(translation(page)).to_have_text(ARABIC)
    assert fake.of("api/stream")[-1]["target"] == "ar"
    source.select_option("de")
    assert target.locator("option").all_text_contents() == ["English"]
    expect(translation(page)).to_have_text("A DOG.")
    page.reload()
    expect(source).to_have_value("de")  # as it was left


def test_swapping_makes_the_translation_the_text(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    swap = page.get_by_role("button", name="Swap the languages")
    translated(page, "a dog.", "A DOG.")
    swap.click()
    expect(page.get_by_label("Translate from")).to_have_value("de")
    expect(page.get_by_label("Text to translate")).to_have_value("A DOG.")
    expect(translation(page)).to_have_text("A DOG.")
    assert fake.of("api/stream")[-1] == {"q": "A DOG.", "source": "de", "target": "en"}
    page.get_by_label("Translate from").select_option("en")
    page.get_by_label("Translate into").select_option("ar")
    impossible = page.get_by_role("button", name="no model for the way back")
    expect(impossible).to_have_attribute("aria-disabled", "true")
    impossible.click(force=True)
    expect(page.get_by_label("Translate from")).to_have_value("en")


def test_the_text_is_cleared_by_a_button(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    clear = page.get_by_role("button", name="Clear the text")
    expect(clear).to_be_hidden()
    translated(page, "a dog.", "A DOG.")
    clear.click()
    expect(translation(page)).to_be_empty()
    expect(page.get_by_label("Text to translate")).to_be_focused()
    expect(clear).to_be_hidden()
    expect(page.get_by_role("button", name="Copy")).to_be_disabled()


def test_right_to_left_text_stands_right(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)

    def right(selector: str) -> bool:
        """Whether the first word is in the right half of its pane."""
        return bool(page.evaluate(
            """selector => {
                const node = document.querySelector(selector);
                const range = document.createRange();
                range.selectNodeContents(node);
                const box = range.getBoundingClientRect();
                const pane = node.closest(".pane").getBoundingClientRect();
                return box.left + box.right > pane.left + pane.right;
            }""",
            selector,
        ))  # fmt: skip

    translated(page, "a dog.", "A DOG.")
    assert not right("#translation .sentence")
    page.get_by_label("Translate into").select_option("ar")
    expect(translation(page)).to_have_text(ARABIC)
    expect(translation(page)).to_have_attribute("lang", "ar")
    assert right("#translation .sentence")
    page.get_by_label("Translate from").select_option("he")
    translated(page, HEBREW, HEBREW)
    assert page.locator("#typed").evaluate("node => getComputedStyle(node).direction") == "rtl"
    page.locator(".sentence").hover()
    page.locator(".sentence .word").nth(1).hover()
    expect(page.locator("#mirror mark.word-on")).to_have_text("כלבים")
    assert right("#mirror")
    type_text(page, "")
    assert page.locator("#typed").evaluate("node => getComputedStyle(node).direction") == "rtl"
    page.get_by_label("Translate from").select_option("en")  # and Hebrew all the same
    translated(page, f"{HEBREW}\na dog.", f"{HEBREW}A DOG.")
    page.locator(".sentence").first.hover()
    marked_in_parts(page, HEBREW)
    assert page.locator("#typed").evaluate("node => getComputedStyle(node).direction") == "rtl"
    assert right("#mirror mark")
    page.locator(".sentence").nth(1).hover()
    marked_in_parts(page, "a dog.")
    assert not right("#mirror mark")  # each line as its letters are
    field, mirror = page.locator("#typed"), page.locator("#mirror")
    boxes = [
        node.evaluate("node => [node.clientWidth, getComputedStyle(node).padding]")
        for node in (field, mirror)
    ]
    assert boxes[0] == boxes[1]


def test_hostile_text_stays_text(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    hostile = [
        "<img src=x onerror=alert(1)> <script>alert(2)</script>.",
        "\u202eevil\u2066 &lt;b&gt; ${7*7}.",
        "w" * 3000,
        "👩‍👩‍👧‍👦 🇩🇪 e\u0301.",
        "\u0000\ud83d-->]]> </textarea></style>.".replace("\ud83d", "\ufffd"),
    ]
    text = "\n".join(hostile)
    type_text(page, text)
    lines = translation(page).locator(".line")
    expect(lines).to_have_count(len(hostile))
    for line, given in zip(lines.all(), hostile, strict=True):
        assert line.text_content() == " ".join(given.split()).upper()
    elements = "#translation :not(.line, .sentence, .word), #mirror :not(mark)"
    assert page.locator(elements).count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for number in range(len(hostile)):
        sentence = page.locator(".line").nth(number).locator(".sentence").first
        sentence.click(position={"x": 5, "y": 8})
        expect(page.locator("#alternatives li")).to_have_count(3)
    page.locator("#experts summary").click()
    page.locator(".chip").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("img, iframe, object").count() == 0


def test_it_asks_its_own_server_and_nobody_else(window: Window, fake: Fake) -> None:
    page: Page = window.visit(fake.url)
    translated(page, "a dog.", "A DOG.")
    page.locator(".sentence").click()
    expect(page.locator("#alternatives")).to_be_visible()
    outside = [url for url in window.requests if not url.startswith((fake.url, "data:", "blob:"))]
    assert not outside
    assert {url.removeprefix(fake.url) for url in window.requests if url.startswith("http")} == {
        "", "api/models", "api/stream", "api/explain"
    }  # fmt: skip
