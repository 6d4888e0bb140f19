"""Several models, of several directions, as folders and as checkpoints, in float32 and int8."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nmt_moe.serve.names import names_of
from nmt_moe.trained import Translator
from nmt_moe.trained import folder as folders
from tests.hub.conftest import KNOWN
from tests.report.experts import write_checkpoint
from tests.serve.running import Running, served

PAIRS = [("en", "de"), ("en", "fr"), ("de", "fr")]
TEXT = "the old dog\nsees a new cat"


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of several directions."""
    training = tmp_path_factory.mktemp("several")
    checkpoint = write_checkpoint(training, symbols=("<2de>", "<2fr>"))
    words = [training / "dict.en.txt", training / "dict.xx.txt"]
    about = {"directions": [[*pair] for pair in PAIRS], "created": "2026-01-02T03:04:05Z"}
    pieces = training / "sentencepiece.model"
    folders.write(training / "several", checkpoint, words, pieces, about)
    return training / "several"


@pytest.fixture(scope="module")
def server(several: Path, model: Path) -> Iterator[Running]:
    with served(several, model, "--int8") as running:
        running.until_ready()
        yield running


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_each_direction_is_translated(
    server: Running, several: Path, pair: tuple[str, str]
) -> None:
    source, target = pair
    expected = Translator(several, source_lang=source, target_lang=target, int8=True)
    answer = server.translate(TEXT, source=source, target=target)
    assert answer.json() == {"translatedText": "\n".join(expected.translate(TEXT.split("\n")))}


def test_languages_are_those_of_all_models(server: Running) -> None:
    assert [(one["code"], one["targets"]) for one in server.get("/languages").json()] == [
        ("en", ["de", "fr"]),
        ("de", ["fr"]),
        ("fr", []),
    ]
    names = [
        (one["name"], one["source"], one["target"]) for one in server.get("/api/models").json()
    ]
    assert names == [*(("several", *pair) for pair in PAIRS), ("small", "en", "de")]
    answer = server.translate("red", source="fr", target="en")
    assert answer.status_code == 400
    assert answer.json()["error"] == "no model translates from 'fr': choose from en, de"


def test_a_model_behind_another_is_told(server: Running) -> None:
    [warning] = [line for line in server.said.splitlines() if line.startswith("warning")]
    assert warning == (
        "warning: small translates en-de only where several has failed: the first one named "
        "translates"
    )


def test_models_have_names_that_tell_them_apart(tmp_path: Path) -> None:
    for folder in ("a/model", "b/model", "model-2", "a/training", "b/training"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("a/training/best.pt", "b/training/best.pt", "b/training/last.pt"):
        (tmp_path / file).touch()

    def names(*given: str) -> list[str]:
        return names_of([f"{tmp_path}/{one}" for one in given])

    assert names("a/model") == ["model"]
    assert names("a/training/best.pt") == ["training"]
    assert names("a/model", "a/model", "model-2") == ["model", "model-2", "model-2-2"]
    assert names("a/model", "b/model", "a/model") == ["a/model", "b/model", "a/model-2"]
    assert names("a/training/best.pt", "b/training/best.pt") == ["a/training", "b/training"]
    assert names("b/training/best.pt", "b/training/last.pt") == ["training/best", "training/last"]
    assert names("b/training/best.pt:b/training/last.pt") == ["training"]


def test_a_source_language_is_told_from_text(server: Running) -> None:
    texts = {"de": "Der alte Hund sieht die Katze.", "en": "The old dog sees the cat."}
    for code, text in texts.items():
        [best, *_] = server.post("/detect", data={"q": text}).json()
        assert best["language"] == code and best["confidence"] > 50
        answer = server.translate(text, source="auto", target="fr").json()
        assert answer["detectedLanguage"]["language"] == code
    for text in ("", "12", "?"):
        assert server.post("/detect", data={"q": text}).json()[0]["confidence"] == 0


def test_a_checkpoint_is_served(model: Path) -> None:
    checkpoint = model.parent / "training" / "checkpoint_best.pt"
    expected = Translator(checkpoint, beam=1, device="cpu").translate(KNOWN[0])
    with served(checkpoint, "--beam", "1") as server:
        answer = server.translate(KNOWN[0], target="xx", alternatives=3)  # waits for the model
        assert answer.json()["translatedText"] == expected
        assert answer.json()["alternatives"] == [], "the beam has no others"
        several = server.translate(KNOWN[:2], target="xx", alternatives=3).json()
        assert several["alternatives"] == [[], []]
        assert "alternatives" not in server.translate(KNOWN[0], target="xx", alternatives=0).json()
        [known] = server.get("/api/models").json()
        assert (known["name"], known["targetName"]) == ("training", "xx")
