"""Files on the page: they are dropped or chosen, and come back translated."""

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.report.browser import Window
from tests.serve.fake import Fake


def test_files_are_dropped_or_chosen_and_come_back_translated(
    window: Window, fake: Fake, tmp_path: Path
) -> None:
    page = window.visit(fake.url)
    transfer = page.evaluate_handle("""() => {
        const transfer = new DataTransfer();
        transfer.items.add(new File(["a dog.\\n"], "story <b>.txt", { type: "text/plain" }));
        transfer.items.add(new File(["1\\n"], "film.srt"));
        return transfer;
    }""")
    page.dispatch_event("body", "dragover", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop the files")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop the files")).to_be_hidden()
    link = page.get_by_role("link", name="Download story <b>.de.txt")
    with page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == "story _b_.de.txt"  # as a disk can have it
    assert Path(download.value.path()).read_text() == "A DOG.\n"
    expect(page.get_by_role("link", name="Download film.de.srt")).to_be_visible()
    (tmp_path / "letter").write_text("red")
    page.locator("#chosen").set_input_files(tmp_path / "letter")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download letter.de").click()
    assert Path(download.value.path()).read_text() == "RED"
    assert [str(name).encode("latin-1", "replace") for name in fake.of("translate_file")][1:] == [
        b"film.srt", b"letter"
    ]  # fmt: skip
    for _ in range(3):
        page.get_by_role("button", name=re.compile("^Remove")).first.click()
    expect(page.locator("#files")).to_be_hidden()


def test_of_a_table_a_column_is_asked_for(browser: Window, fake: Fake) -> None:
    page = browser.visit(fake.url)
    page.locator("#from option").first.wait_for(state="attached")
    files = [("pairs.TSV", b"id\tsource\n1\ta dog.\n"), ("a.txt", b"a")]
    page.locator("#chosen").set_input_files(
        [{"name": name, "mimeType": "text/plain", "buffer": content} for name, content in files]
    )
    expect(page.get_by_role("link", name="Download a.de.txt")).to_be_visible()  # it did not wait
    assert fake.of("translate_file") == ["a.txt"]
    field = page.get_by_label("Column (number or name)")
    offered = page.locator("datalist option")
    expect(offered).to_have_count(2)
    assert offered.evaluate_all("nodes => nodes.map(node => [node.value, node.label])") == [
        ["1", "id"], ["2", "source"]
    ]  # fmt: skip
    field.fill("none")
    page.keyboard.press("Enter")
    expect(page.locator("#files li").first).to_contain_text("The file has no such column.")
    expect(field).to_be_focused()
    expect(field).to_have_value("none")
    field.fill("source")
    page.get_by_role("button", name="Translate the column").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download pairs.de.TSV").click()
    assert Path(download.value.path()).read_bytes() == files[0][1].upper()
    assert fake.of("column") == ["none", "source"]
