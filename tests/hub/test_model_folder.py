"""A model's folder: what is in it, what opens it, and what it refuses."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt_moe import LSTMMoEModel, load
from nmt_moe.common.errors import UserError
from nmt_moe.trained import folder as folders
from nmt_moe.trained.card import card
from nmt_moe.trained.folder import ModelFolder
from tests.hub.conftest import KNOWN

WORST = {"source": "- a *b* | <b>", "reference": "1. x", "hypothesis": "", "score": 1.25}
BLEU = {"value": 33.456, "low": 32.0, "high": 35.0, "signature": "nrefs:1|case:mixed"}
ABOUT = {
    "directions": [["en", "xx"]],
    "created": "2026-01-02T03:04:05Z",
    "text": [{"name": "a.en.gz, a.xx.gz", "pairs": 12345, "sha256": "ab12"}],
    "settings": {"dropout": 0.3},
    "reasons": ["12,345 pairs: 32 experts"],
    "scores": [
        {
            "direction": ["en", "xx"],
            "text": "test",
            "sentences": 1000,
            "scores": {"BLEU": BLEU},
            "worst": [WORST],
        }
    ],
}


def written(folder: Path, trained: Path, checkpoint: str = "checkpoint_best.pt") -> ModelFolder:
    """The model of a training's folder in a folder of its own."""
    words = [trained / "dict.en.txt", trained / "dict.xx.txt"]
    pieces = trained / "sentencepiece.model"
    return folders.write(folder, trained / checkpoint, words, pieces, ABOUT)


@pytest.fixture
def model(folder: Path, tmp_path: Path) -> ModelFolder:
    return written(tmp_path / "my model", folder)


def test_a_copy_translates_as_the_checkpoint_does(model, folder, tmp_path) -> None:
    shutil.copytree(model.path, tmp_path / "elsewhere")
    shutil.rmtree(model.path)
    found = folders.read(tmp_path / "elsewhere")
    found.check()
    expected = load(folder / "checkpoint_best.pt").translator()(KNOWN)
    assert load(found.path).translator()(KNOWN) == expected and set(expected) & set(KNOWN)
    assert LSTMMoEModel.from_pretrained(found.path).translate(KNOWN) == expected


def test_the_weights_are_alone_and_name_no_folder(trained, data, folder, tmp_path) -> None:
    """Of a checkpoint of fairseq-train; its languages were inferred from the names of files."""
    words = [data / "dict.a.txt", data / "dict.b.txt"]
    about = {"directions": [["a", "b"]]}
    found = folders.write(tmp_path / "m", trained, words, folder / "sentencepiece.model", about)
    state, before = (torch.load(file) for file in (found.checkpoint, trained))
    assert "last_optimizer_state" in before and "last_optimizer_state" not in state
    assert str(data) in repr(before["cfg"]) and str(data.parent) not in repr(state)
    assert all(torch.equal(weight, before["model"][n]) for n, weight in state["model"].items())
    assert found.about["updates"] == 150 and found.dictionaries == [
        found.path / "dict.a.txt",
        found.path / "dict.b.txt",
    ]
    assert load(found.path).languages == ("a", "b")


def test_the_same_model_gives_the_same_files(model, folder, tmp_path) -> None:
    again = written(tmp_path / "again" / "my model", folder)
    names = sorted(file.name for file in model.path.iterdir())
    assert names == sorted([*model.about["sha256"], "model.json", "README.md"])
    for name in names:
        assert (again.path / name).read_bytes() == (model.path / name).read_bytes()


def test_a_changed_or_missing_file_is_named(model) -> None:
    (model.path / "README.md").write_text("The card may be edited.")
    model.check()
    words = model.dictionaries[1]
    words.write_bytes(words.read_bytes() + b"more 1\n")
    with pytest.raises(UserError, match=r"dict\.xx\.txt is not the file that model\.json was"):
        model.check()
    words.unlink()
    with pytest.raises(UserError, match=r"my model lacks dict\.xx\.txt"):
        model.check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2, "nmt_moe": "9.9"}, r"was written by nmt_moe 9\.9, of a later format"),
        ({"sha256": {"../model.pt": "ab"}}, "model.json is damaged"),
        ({"sha256": {"..": "ab"}}, "model.json is damaged"),
        ({"directions": ["en"]}, "model.json is damaged"),
        ({"directions": None}, "model.json is damaged"),
        ({"format": "x"}, "model.json is damaged"),
    ],
)
def test_what_cannot_be_read_is_refused(model, change: dict[str, Any], message: str) -> None:
    (model.path / "model.json").write_text(json.dumps(model.about | change))
    with pytest.raises(UserError, match=message):
        folders.read(model.path)


def test_no_model_folder(tmp_path, folder) -> None:
    with pytest.raises(UserError, match="is no model folder: it has no model.json"):
        folders.read(tmp_path)
    (tmp_path / "model.json").write_text("[")
    with pytest.raises(UserError, match="model.json is damaged"):
        folders.read(tmp_path)
    with pytest.raises(UserError, match=r"are needed, not dict\.en\.txt"):
        words = [folder / "dict.en.txt"] * 2
        folders.write(tmp_path, folder / "checkpoint_best.pt", words, words[0], ABOUT)


def test_the_card_says_what_the_model_is(model) -> None:
    text = (model.path / "README.md").read_text()
    assert text.startswith("# my model: English to xx\n")
    assert "nmt-moe translate 'my model' < text.en > text.xx" in text
    assert 'Translator("my model").translate(["..."])' in text
    row = "| English to xx | test, 1,000 sentences | BLEU | 33.46 | 32.00 to 35.00 | "
    assert row + r"nrefs:1\|case:mixed |" in text
    assert "| 12,345 | a.en.gz, a.xx.gz | ab12 |" in text and "| dropout | 0.3 |" in text
    worst = r"- \- a \*b\* \| \<b\>" "\n  - translated: (nothing)\n  - reference: 1\\. x\n"
    assert worst in text and re.search(r"nmt\\_moe \S+, python 3\.\d+", text)
    both = model.about | {"directions": [["en", "xx"], ["xx", "en"]], "scores": []}
    assert "< text.en" in card("m", both) and "--target-lang xx" in card("m", both)
    assert "bad at" not in card("m", both)
