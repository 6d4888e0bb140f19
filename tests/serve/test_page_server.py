"""The page on the server of ``nmt-moe serve``, with a model of its own."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from nmt_moe.trained import load
from tests.hub.conftest import KNOWN, folder  # noqa: F401  a fixture
from tests.report.browser import Window, overflow
from tests.serve.visits import translated, translation, type_text


@contextmanager
def serving(model: Path, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server that ends with the block, and its process."""
    command = [sys.executable, "-m", "nmt_moe", "serve", str(model), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip(), process
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:  # noqa: F811
    return folder / "checkpoint_best.pt"


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    with serving(model) as (address, _):
        yield address


def test_the_page_shows_what_the_model_translates(window: Window, url: str, model: Path) -> None:
    text = f"{KNOWN[0]}\n\n{KNOWN[2]}"
    wanted = load(model).translator().translate(text.split("\n"))
    assert wanted[0].strip()
    page = window.visit(url)
    expect(page.get_by_role("alert")).to_be_hidden()  # the model has been loaded
    type_text(page, text)
    expect(translation(page).locator(".line")).to_have_text(wanted)
    expect(translation(page)).to_have_attribute("aria-busy", "false")
    page.locator(".sentence").first.hover()
    page.locator(".sentence").first.locator(".word").first.hover()
    expect(page.locator(".word.on")).to_have_count(1)
    page.locator(".sentence").first.click()
    assert 2 <= page.locator("#alternatives button").count() <= 4
    page.get_by_text("Experts of each wordpiece").click()
    page.locator(".chip").first.wait_for()
    pieces = page.locator("#experts section").first.locator(".piece").all_inner_texts()
    assert "".join(pieces).replace("▁", " ").strip() == f"{KNOWN[0]}</s>"
    assert overflow(page) <= 0


def test_a_dropped_file_is_translated_as_the_command_does(
    window: Window, url: str, model: Path
) -> None:
    lines = [KNOWN[3], "", KNOWN[5]]
    page = window.visit(url)
    expect(page.get_by_role("alert")).to_be_hidden()
    transfer = page.evaluate_handle(
        """text => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([text], "story.txt"));
            return transfer;
        }""",
        "\n".join(lines) + "\n",
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    with page.expect_download() as download:
        page.get_by_role("link", name="Download story.xx.txt").click()
    wanted = "".join(f"{line}\n" for line in load(model).translator().translate(lines))
    assert Path(download.value.path()).read_text() == wanted


def test_refusals_of_files_are_said_in_the_readers_language(browser: Window, url: str) -> None:
    page = browser.visit(url)
    expect(page.get_by_role("alert")).to_be_hidden()
    page.get_by_label("Language of this page").select_option("de")
    rows = page.locator("#files li")

    def give(name: str, content: bytes) -> None:
        page.locator("#chosen").set_input_files(
            {"name": name, "mimeType": "text/plain", "buffer": content}
        )

    give("letter.docx", b"PK")
    expect(rows.nth(0)).to_contain_text("Dateien dieser Art werden nicht übersetzt.")
    give("letter.txt", b"\xe9\xe8")
    expect(rows.nth(1)).to_contain_text("Die Datei ist kein Text in UTF-8 oder UTF-16.")
    give("table.tsv", f"1\t{KNOWN[3]}\n".encode())
    rows.nth(2).get_by_label("Spalte").fill("3")
    page.keyboard.press("Enter")
    expect(rows.nth(2)).to_contain_text("Eine solche Spalte hat die Datei nicht.")
    rows.nth(2).get_by_label("Spalte").fill("2")
    page.keyboard.press("Enter")
    expect(rows.nth(2).get_by_role("link")).to_be_visible()
    transfer = page.evaluate_handle("""() => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(11 * 2 ** 20)], "large.txt"));
        return transfer;
    }""")
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    expect(rows.nth(3)).to_contain_text("Die Datei hat mehr als 10 MiB.")
    page.get_by_label("Sprache dieser Seite").select_option("en")


def test_a_text_of_more_than_the_limit_is_translated(window: Window, url: str, model: Path) -> None:
    lines = [" ".join(KNOWN[:3]), "", *KNOWN[:4]] * 44
    text = "\n".join(lines)
    assert len(text) > 5000
    page = window.visit(url)
    type_text(page, text)
    shown = translation(page).locator(".line")
    expect(shown).to_have_count(len(lines))
    expect(translation(page)).to_have_attribute("aria-busy", "false")
    expect(page.get_by_role("button", name="Copy")).to_be_enabled()
    of = dict(zip(lines, load(model).translator().translate(lines[:6]), strict=False))
    assert shown.all_text_contents() == [of[line] for line in lines]
    expect(page.locator("#count")).to_contain_text("parts")


def test_a_description_for_programs_is_a_click_away(window: Window, url: str) -> None:
    page = window.visit(url)
    page.get_by_role("link", name="Interface for programs").click()
    page.wait_for_url(f"{url}/docs")


@pytest.mark.slow
def test_a_server_or_a_model_that_is_killed_comes_back(browser: Window, model: Path) -> None:
    with serving(model) as (address, process):
        page = browser.visit(address)
        expect(page.get_by_role("alert")).to_be_hidden()
        translated(page, KNOWN[0], KNOWN[0])
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        subprocess.run(["kill", "-9", *children], check=True)
        type_text(page, KNOWN[1])
        expect(translation(page)).to_have_text(KNOWN[1])
        expect(page.get_by_role("alert")).to_be_hidden()
        process.send_signal(signal.SIGKILL)
        process.wait()
        type_text(page, KNOWN[2])
        expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
    with serving(model, int(address.rpartition(":")[2])):
        expect(translation(page)).to_have_text(KNOWN[2])
        expect(page.get_by_role("alert")).to_be_hidden()
    messages = [text for text in browser.messages if not text.startswith("Failed to load resource")]
    assert messages == []
