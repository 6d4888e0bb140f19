"""A model's folder: what is in it, what opens it, and what it refuses."""

import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf

from nmt_moe import LSTMMoEModel, Translator, load
from nmt_moe.cli.main import main
from nmt_moe.common.errors import UserError
from nmt_moe.trained import folder as folders
from nmt_moe.trained.card import card
from nmt_moe.trained.folder import ModelFolder
from tests import commands, forks
from tests.hub.conftest import KNOWN
from tests.report.experts import write_checkpoint

WORST = {"source": "- a *b* | <b>", "reference": "1. x", "hypothesis": "", "score": 1.25}
BLEU = {"value": 33.456, "low": 32.0, "high": 35.0, "signature": "nrefs:1|case:mixed"}
ABOUT = {
    "directions": [["en", "xx"]],
    "created": "2026-01-02T03:04:05Z",
    "text": [{"name": "a.en.gz, a.xx.gz", "pairs": 12345, "sha256": "ab12"}],
    "suspicions": ["a.en.gz: from line 698 on: lines out of step"],
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
    assert Translator(found.path, device="cpu").translate(KNOWN) == expected
    assert Translator(str(found.path)).translate(KNOWN[0]) == expected[0] and expected[0] in KNOWN
    assert LSTMMoEModel.from_pretrained(found.path).translate(KNOWN) == expected


def test_a_translator_reads_lines_as_the_command_does(model, monkeypatch, capsys) -> None:
    lines = ["", f" {KNOWN[0]}。\t{KNOWN[1]} ", KNOWN[2]]
    translator = Translator(model.path)
    translate = translator.translate
    assert translate(lines)[::2] == ["", *translate(KNOWN[2:3])]
    assert translate(lines)[1] != translator(lines)[1]  # it has two sentences
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO("\n".join(lines).encode())))
    assert main(["translate", str(model.path)]) == 0
    assert capsys.readouterr().out.split("\n") == [*translate(lines), ""]
    for once in (line for line in KNOWN), map(str, KNOWN):
        assert translate(once) == translate(KNOWN)
    assert translator(iter(KNOWN)) == translator(KNOWN)
    for wrong, named in ((["a", 3], "3"), (3, "3"), ({"a": "b"}, "{'a': 'b'}"), (None, "None")):
        with pytest.raises(UserError, match=f"takes a list of strings, not {named}"):
            translate(wrong)
    with pytest.raises(UserError, match="there is no checkpoint none"):
        Translator("none")


def test_a_model_of_two_directions(tmp_path) -> None:
    """Tags say into which language; each direction has the sentences of its own source."""
    checkpoint = write_checkpoint(tmp_path, symbols=["<2de>", "<2ja>"])
    words = [tmp_path / "dict.en.txt", tmp_path / "dict.xx.txt"]
    pieces = tmp_path / "sentencepiece.model"
    about = {"directions": [["ja", "de"], ["de", "ja"]]}
    found = folders.write(tmp_path / "both", checkpoint, words, pieces, about)
    assert found.source_of("deu") == "ja" and found.source_of("fr") is None
    translator = Translator(found.path, target_lang="ja")
    assert (translator.source_lang, translator.target_lang) == ("de", "ja")
    assert Translator(found.path, target_lang="ja", source_lang="cs").source_lang == "cs"
    assert load(found.path, target_lang="de").source_lang == "ja"
    assert found.interactive() is None
    assert not any("fairseq-" in line for line in folders.description(found))
    with pytest.raises(UserError, match="into de, ja: choose one with --target-lang"):
        Translator(found.path)


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
    assert "- a.en.gz: from line 698 on: lines out of step" in text
    worst = r"- \- a \*b\* \| \<b\>" "\n  - translated: (nothing)\n  - reference: 1\\. x\n"
    assert worst in text and re.search(r"nmt\\_moe \S+, python 3\.\d+", text)
    both = model.about | {"directions": [["en", "xx"], ["xx", "en"]], "scores": []}
    assert "< text.en" in card("m", both) and "--target-lang xx" in card("m", both)
    assert "bad at" not in card("m", both)


def test_the_command_that_info_prints_translates(folder, tmp_path, capsys) -> None:
    """fairseq's own program gives what ours does; it reads options of each of its parts."""
    shutil.copytree(folder, tmp_path / "trained")
    state = torch.load(tmp_path / "trained" / "checkpoint_best.pt")
    parts = OmegaConf.structured(FairseqConfig)
    state["cfg"] = OmegaConf.to_container(parts, enum_to_str=True) | state["cfg"]
    torch.save(state, tmp_path / "trained" / "checkpoint_best.pt")
    model = written(tmp_path / "my model", tmp_path / "trained")
    assert main(["model", "info", str(model.path)]) == 0
    said = capsys.readouterr().out
    for shown in ("English to xx; ", "12,345 pairs of a.en.gz", "dropout 0.3", "33.46  (32.00 to"):
        assert shown in said, shown
    program, *arguments = shlex.split(said.splitlines()[-1])
    text = "".join(f"{line}\n" for line in KNOWN)
    ended = commands.run(program, *arguments, input=text)
    found = [line.split("\t")[2] for line in ended.stdout.splitlines() if line.startswith("D-")]
    assert found == Translator(model.path).translate(KNOWN)
    assert main(["model", "info", "--json", str(model.path)]) == 0
    assert json.loads(capsys.readouterr().out) == model.about
    model.wordpieces.write_bytes(b"other")
    assert main(["model", "info", str(model.path)]) == 1
    assert "sentencepiece.model is not the file that" in capsys.readouterr().err


def test_a_folder_that_is_only_read(model) -> None:
    """Another user without a network opens what they may not write to."""
    public = Path(tempfile.mkdtemp())
    try:
        shutil.copytree(model.path, public / "m")
        for path in (public, *public.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        expected = Translator(model.path).translate(KNOWN)
        child = os.fork()
        if not child:
            forks.end_as_a_program(lambda: _as_another_user(public / "m", expected))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        names = sorted(path.name for path in (public / "m").iterdir())
        assert names == sorted(path.name for path in model.path.iterdir())
    finally:
        for path in (public, public / "m"):
            path.chmod(0o755)
        shutil.rmtree(public)


def _as_another_user(folder: Path, expected: list[str]) -> None:
    forks.end_by_itself()
    sys.addaudithook(_without_network)
    os.environ["HOME"] = "/nonexistent"
    os.chdir("/")
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    with pytest.raises(PermissionError):
        (folder / "new").touch()
    folders.read(folder).check()
    assert Translator(folder).translate(KNOWN) == expected
    assert LSTMMoEModel.from_pretrained(folder).translate(KNOWN) == expected


def _without_network(event: str, _: object) -> None:
    if event.startswith("socket."):
        raise OSError(f"{event}: there is no network")
