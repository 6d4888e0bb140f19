"""The kept models of every release are opened, used and trained on by this version."""

import json
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.reliability.old.use import (
    FOLDER,
    evaluate,
    is_language_model,
    prepare,
    resume,
    translate,
    unpack,
)

MODELS = sorted(path.parent for path in FOLDER.glob("*/*/expected.json"))
KINDS = {"translation", "hierarchical", "strictly_balanced", "language_model"}
every_model = pytest.mark.parametrize(
    "model", MODELS, ids=[f"{model.parent.name} {model.name}" for model in MODELS]
)


def test_every_release_has_its_models_and_they_are_small():
    for release in {version("nmt-moe"), *(model.parent.name for model in MODELS)}:
        kept = {model.name for model in MODELS if model.parent.name == release}
        assert kept >= KINDS, f"{release}: python -m tests.reliability.old makes them"
        files = [file for file in (FOLDER / release).rglob("*") if file.is_file()]
        assert sum(file.stat().st_size for file in files) < 500_000


@every_model
def test_it_translates_as_it_did(model: Path, tmp_path: Path, tally) -> None:
    expected = json.loads((model / "expected.json").read_text())
    if is_language_model(expected["options"]):
        pytest.skip("a language model")
    assert len(set(expected["translations"])) > 10
    assert translate(model.parent, unpack(model, tmp_path)) == expected["translations"]
    tally(inputs=len(expected["translations"]))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """The binary data of a release, made once."""

    @cache
    def folder(release: Path) -> Path:
        work = tmp_path_factory.mktemp(release.name)
        prepare(release, work)
        return work

    return folder


@pytest.mark.parametrize(
    "model",
    [
        # Of each release the default gates in the quick suite, the others in the slow one.
        pytest.param(model, marks=() if model.name == "translation" else pytest.mark.slow)
        for model in MODELS
    ],
    ids=lambda model: f"{model.parent.name} {model.name}",
)
def test_it_is_evaluated_and_trained_on_as_it_was(model: Path, prepared, tally) -> None:
    expected = json.loads((model / "expected.json").read_text())
    work = prepared(model.parent)
    checkpoint, options = unpack(model, work), expected["options"]
    found = evaluate(options, checkpoint, work)
    assert found == pytest.approx(expected["bits per piece"], abs=2e-3)
    losses = resume(options, checkpoint, work)
    assert losses == pytest.approx(expected["resumed losses"], abs=2e-3)
    tally(inputs=1 + len(losses))
