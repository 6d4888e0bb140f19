"""A small model's folder, and a server of it that the tests of a file share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from nmt_moe.trained import folder as folders
from tests.conftest import Shared
from tests.hub.conftest import learn
from tests.report.browser import Window
from tests.report.conftest import browser, window  # noqa: F401
from tests.report.experts import write_checkpoint
from tests.serve.fake import Fake
from tests.serve.running import Running, served


@pytest.fixture(scope="session")
def model(shared: Shared) -> Path:
    """A model from English into German that has learnt to repeat some sentences by heart."""

    def fill(folder: Path) -> None:
        training = folder / "training"
        training.mkdir()
        checkpoint = write_checkpoint(training, dim=32, lstm_cells=32, moe_hidden_dim=32)
        learn(checkpoint)
        german = shutil.copyfile(training / "dict.xx.txt", training / "dict.de.txt")
        words = [training / "dict.en.txt", german]
        about = {"directions": [["en", "de"]], "created": "2026-01-02T03:04:05Z"}
        pieces = training / "sentencepiece.model"
        folders.write(folder / "small", checkpoint, words, pieces, about)

    return shared("serve", fill) / "small"


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Running]:
    """A server that is ready."""
    with served(model, "--log") as running:
        running.until_ready()
        yield running


@pytest.fixture
def fake(browser: Window) -> Iterator[Fake]:  # noqa: F811
    """A server at an address of its own, of which the browser remembers nothing."""
    with Fake() as server:
        yield server
        browser.leave()  # what the page asks for by itself finds a server to the end
