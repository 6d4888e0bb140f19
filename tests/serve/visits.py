"""What a user of the page does."""

from playwright.sync_api import Locator, Page, expect


def translation(page: Page) -> Locator:
    return page.locator("#translation")


def type_text(page: Page, text: str) -> None:
    """Put a text in place of the one that is there."""
    page.get_by_label("Text to translate").fill(text)


def translated(page: Page, text: str, wanted: str) -> None:
    """Type a text and wait for its translation."""
    type_text(page, text)
    expect(translation(page)).to_have_attribute("aria-busy", "false")
    expect(translation(page)).to_have_text(wanted)


def marked(page: Page, kind: str = "word-on") -> list[str]:
    """What is marked in the text that was typed."""
    return page.locator(f"#mirror mark.{kind}").all_text_contents()


def marked_in_parts(page: Page, text: str) -> None:
    """Wait until a text is marked, and nothing else: its words apart, once they are known."""
    marks = "[...document.querySelectorAll('#mirror mark')].map(node => node.textContent)"
    page.wait_for_function(f"text => {marks}.join('') === text", arg=text)


def lit(page: Page) -> list[str]:
    """The words that are marked in the translation."""
    return page.locator("#translation .word.on").all_text_contents()
