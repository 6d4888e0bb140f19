"""What belongs together is shown on both sides, by mouse and by keys."""

from playwright.sync_api import Page, expect

from tests.report.browser import Window
from tests.serve.fake import Fake
from tests.serve.visits import lit, marked, translated, translation, type_text

TEXT = "Two dogs run. A red  cat\nsleeps."


def shown(window: Window, fake: Fake) -> Page:
    page = window.visit(fake.url)
    translated(page, TEXT, "TWO DOGS RUN. A RED CATSLEEPS.")
    return page


def point(page: Page, sentence: int, word: int) -> None:
    """With the mouse, at a word of the translation."""
    page.locator(".sentence").nth(sentence).hover()
    page.locator(".sentence").nth(sentence).locator(".word").nth(word).hover()


def test_pointing_at_a_word_shows_where_it_comes_from(window: Window, fake: Fake) -> None:
    page = shown(window, fake)
    point(page, 0, 1)
    expect(page.locator("#mirror mark.word-on")).to_have_text("dogs")
    assert lit(page) == ["DOGS"]
    assert marked(page, "sentence-on") == ["Two ", " run."]
    point(page, 1, 2)  # behind two spaces
    expect(page.locator("#mirror mark.word-on")).to_have_text("cat")
    assert lit(page) == ["CAT"]
    assert marked(page, "sentence-on") == ["A red  "]
    page.get_by_role("heading", name="Translate", exact=True).hover()
    expect(page.locator("#mirror mark")).to_have_count(0)
    assert lit(page) == []
    assert len(fake.of("api/explain")) == 2  # once for each sentence
    assert fake.of("api/explain")[0] == {"q": "Two dogs run.", "source": "en", "target": "de"}


def test_marks_lie_exactly_behind_the_words(window: Window, fake: Fake) -> None:
    """The field and its copy break lines at the same places."""
    page = window.visit(fake.url, width=700)
    text = " ".join(f"word{number}" + "x" * (number % 7) for number in range(80)) + " end."
    translated(page, text, text.upper())
    boxes = page.evaluate("""() => {
        const [typed, mirror] = ["typed", "mirror"].map((id) => document.getElementById(id));
        return [typed.scrollHeight, mirror.getBoundingClientRect().height,
                typed.clientWidth, mirror.clientWidth];
    }""")
    assert abs(boxes[0] - boxes[1]) <= 1 and boxes[2] == boxes[3]
    page.locator(".sentence").hover(position={"x": 5, "y": 5})
    page.locator(".word").nth(79).hover()
    page.locator("#mirror mark.word-on").scroll_into_view_if_needed()
    box = page.locator("#mirror mark.word-on").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    place = page.evaluate("([x, y]) => document.caretPositionFromPoint(x, y).offset", [x, y])
    start = text.index("word79")
    assert start <= place <= start + len("word79")


def test_pointing_at_the_text_shows_what_became_of_it(window: Window, fake: Fake) -> None:
    page = shown(window, fake)
    point(page, 1, 1)
    box = page.locator("#mirror mark.word-on").bounding_box()  # where "red" is
    assert box
    page.get_by_role("heading", name="Translate", exact=True).hover()
    page.mouse.move(box["x"] + 4, box["y"] + 8)
    expect(page.locator(".word.on")).to_have_text("RED")
    assert marked(page) == ["red"]
    field = page.get_by_label("Text to translate")
    field.focus()
    page.get_by_role("heading", name="Translate", exact=True).hover()
    field.press("Control+Home")
    expect(page.locator(".sentence.on")).to_have_text("Two dogs run.".upper())
    expect(page.locator(".word")).to_have_count(7)  # the words of the first one, too
    for _ in range(5):
        field.press("ArrowRight")
    expect(page.locator(".word.on")).to_have_text("DOGS")


def test_the_keys_go_through_the_words(window: Window, fake: Fake) -> None:
    page = shown(window, fake)
    page.get_by_label("Text to translate").focus()
    for _ in range(9):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('sentence')"):
            break
    expect(page.locator(".sentence").first).to_be_focused()
    expect(page.locator(".sentence").first.locator(".word")).to_have_count(4)
    said = page.locator("#said")
    page.keyboard.press("ArrowRight")
    expect(said).to_have_text("TWO, from Two")
    page.keyboard.press("ArrowRight")
    expect(said).to_have_text("DOGS, from dogs")
    assert (lit(page), marked(page)) == (["DOGS"], ["dogs"])
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert (lit(page), marked(page)) == (["TWO"], ["Two"])
    page.keyboard.press("Tab")
    expect(page.locator(".sentence").nth(1)).to_be_focused()
    assert lit(page) == []


def test_alternatives_come_on_a_click_and_replace_the_sentence(window: Window, fake: Fake) -> None:
    page = shown(window, fake)
    sentence = page.locator(".sentence").first
    sentence.click()
    expect(sentence).to_have_attribute("aria-expanded", "true")
    choices = page.locator("#alternatives button")
    expect(choices).to_have_text(["TWO DOGS RUN.", "TWO DOGS RUN. B", "TWO DOGS RUN. C"])
    expect(choices.first).to_have_attribute("aria-pressed", "true")
    assert page.locator("#alternatives b").all_text_contents() == ["B", "C"]  # what differs
    choices.nth(1).click()
    expect(page.locator("#alternatives")).to_have_count(0)
    expect(sentence).to_have_text("TWO DOGS RUN. B")
    expect(sentence).to_be_focused()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "TWO DOGS RUN. B A RED CAT\nSLEEPS."
    sentence.click()  # and back
    expect(choices.nth(1)).to_have_attribute("aria-pressed", "true")
    choices.first.click()
    expect(sentence).to_have_text("TWO DOGS RUN.")


def test_alternatives_by_keys(window: Window, fake: Fake) -> None:
    page = shown(window, fake)
    sentence = page.locator(".sentence").first
    sentence.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#alternatives")).to_be_visible()
    expect(page.locator("#said")).to_have_text("2 other translations")
    choices = page.locator("#alternatives button")
    expect(choices.nth(0)).to_be_focused()  # the one that is shown
    page.keyboard.press("Escape")
    expect(page.locator("#alternatives")).to_have_count(0)
    expect(sentence).to_be_focused()
    page.keyboard.press(" ")
    for key, number in [
        *(("ArrowDown", 1), ("ArrowDown", 2), ("ArrowDown", 2), ("ArrowUp", 1)),
        *(("Home", 0), ("ArrowUp", 0), ("End", 2)),
    ]:
        page.keyboard.press(key)
        expect(choices.nth(number)).to_be_focused()
    page.keyboard.press("Enter")
    expect(sentence).to_have_text("TWO DOGS RUN. C")
    expect(sentence).to_be_focused()
    page.keyboard.press("Enter")
    expect(choices.nth(2)).to_be_focused()
    page.keyboard.press("Escape")
    sentence.click()  # with the mouse nothing jumps
    expect(choices).to_have_count(3)
    expect(sentence).to_be_focused()
    type_text(page, "new")
    expect(translation(page)).to_have_text("NEW")


def test_where_there_are_no_alternatives(window: Window, fake: Fake) -> None:
    fake.beam = 1
    page = shown(window, fake)
    page.locator(".sentence").first.focus()
    page.keyboard.press("Enter")
    box = page.get_by_role("group", name="Translations of this sentence")
    expect(box).to_contain_text("There are no other translations to choose from.")
    expect(box).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".sentence").first).to_be_focused()


def test_the_fold_shows_the_experts_of_the_chosen_sentence(window: Window, fake: Fake) -> None:
    page = window.visit(fake.url)
    page.get_by_text("Experts of each wordpiece").click()
    expect(page.locator("#experts")).to_contain_text("Type a text")
    translated(page, TEXT, "TWO DOGS RUN. A RED CATSLEEPS.")
    chips = page.locator(".chip")
    expect(chips).to_have_count(8)
    assert chips.first.inner_text().split() == ["▁Two", "0", "0.75", "7", "0.25"]
    headings = page.locator("#experts h3").all_inner_texts()
    assert headings == [
        "Text, after layer 2 of the encoder",
        "Translation, after layer 1 of the decoder, which begins with </s>",
    ]
    chips.nth(0).click()
    assert chips.nth(3).get_attribute("aria-pressed") == "true"  # 0 again
    assert chips.nth(1).get_attribute("aria-pressed") == "false"
    expect(page.locator("#experts [role=status]").first).to_have_text("2 wordpieces with expert 0")
    chips.nth(0).click()
    expect(page.locator("#experts [role=status]").first).to_be_empty()
    colours = chips.evaluate_all("nodes => nodes.map((node) => getComputedStyle(node).background)")
    assert colours[0] == colours[3] == colours[4] != colours[1]
    page.locator(".sentence").nth(1).click()
    expect(page.locator("#experts .about")).to_have_text("A red cat → A RED CAT")
    expect(chips).to_have_count(6)
    page.get_by_text("Experts of each wordpiece").click()
    expect(chips.first).to_be_hidden()
    type_text(page, "unseen")
    expect(translation(page)).to_have_text("UNSEEN")
    assert "unseen" not in [given["q"] for given in fake.of("api/explain")]  # nobody looks
