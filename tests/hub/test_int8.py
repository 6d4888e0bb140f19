"""Translating with weights in int8, as a user types it."""

import json
import shutil
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
import torch
from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf

from nmt_moe import Translator, load
from nmt_moe.checkpoint.summary import summary
from nmt_moe.cli.main import main
from nmt_moe.common.errors import UserError
from nmt_moe.kernels.cpu import int8
from nmt_moe.trained import folder as folders
from nmt_moe.trained.folder import ModelFolder
from tests import commands
from tests.hub.conftest import KNOWN
from tests.hub.test_model_folder import written


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    place = tmp_path_factory.mktemp("int8")
    shutil.copytree(folder, place / "trained")
    state = torch.load(place / "trained" / "checkpoint_best.pt")
    parts = OmegaConf.structured(FairseqConfig)  # fairseq's programs read options of each part
    state["cfg"] = OmegaConf.to_container(parts, enum_to_str=True) | state["cfg"]
    torch.save(state, place / "trained" / "checkpoint_best.pt")
    return written(place / "my-model", place / "trained")


@pytest.fixture(scope="module")
def small(model: ModelFolder) -> ModelFolder:
    """The same, packed in int8 and unpacked."""
    folder = model.path.parent
    assert main(["model", "pack", str(model.path), "--int8"]) == 0
    packed = folder / "my-model-int8.zip"
    assert main(["model", "unpack", str(packed), "--out", str(folder / "small")]) == 0
    return folders.read(folder / "small")


def translated(monkeypatch, capsys, *options: str) -> list[str]:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO("\n".join(KNOWN).encode())))
    capsys.readouterr()
    assert main(["translate", *options]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_packed_model_translates(model, small, monkeypatch, capsys) -> None:
    """A model that knows its sentences by heart still does, however it is opened."""
    expected = Translator(model.path).translate(KNOWN)
    found = translated(monkeypatch, capsys, str(small.path))
    assert sum(one == other for one, other in zip(found, expected, strict=True)) >= 11
    assert translated(monkeypatch, capsys, str(model.path), "--int8") == found
    assert translated(monkeypatch, capsys, str(small.path), "--int8") == found
    assert Translator(model.path, int8=True).translate(KNOWN) == found
    assert load(small.path).translator().translate(KNOWN) == found
    monkeypatch.setattr(int8, "library", None)  # a machine without the code in C
    assert Translator(small.path).translate(KNOWN) == found


def test_where_there_is_a_gpu_the_cpu_is_taken(model, small, monkeypatch, capsys) -> None:
    expected = translated(monkeypatch, capsys, str(small.path), "--device", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert translated(monkeypatch, capsys, str(small.path)) == expected
    assert translated(monkeypatch, capsys, str(model.path), "--int8") == expected
    assert Translator(small.path).translate(KNOWN) == expected


def test_scores_of_both(model, small, tmp_path, capsys) -> None:
    """The model has learnt to repeat what it knows."""
    text = tmp_path / "text"
    text.write_text("\n".join(KNOWN))
    capsys.readouterr()
    arguments = ["evaluate", str(model.path), str(text), str(text), "--resamples", "2"]
    assert main([*arguments, "--int8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{model.path} in int8, {text}, 12 lines"
    assert float(lines[1].split()[1]) > 80
    assert main([*arguments, "--against", str(small.path)]) == 0


def test_int8_is_compared_with_float32(model, tmp_path, monkeypatch, capsys) -> None:
    text, opened = tmp_path / "text", []
    text.write_text("\n".join(KNOWN))
    make = Translator.__init__

    def noted(self, model, **how) -> None:
        opened.append(how.get("int8", False))
        make(self, model, **how)

    monkeypatch.setattr(Translator, "__init__", noted)
    arguments = ["evaluate", str(model.path), str(text), str(text), "--resamples", "2", "--int8"]
    assert main([*arguments, "--against", str(model.path)]) == 0
    assert opened == [True, False]


def test_what_a_packed_model_holds(model, small, capsys) -> None:
    assert small.about["int8"] and small.about["sha256"] != model.about["sha256"]
    kept = {name: value for name, value in small.about.items() if name not in ("int8", "sha256")}
    assert kept.items() <= model.about.items()
    state = torch.load(small.checkpoint)["model"]
    whole = torch.load(model.checkpoint)["model"]
    weights = {name: weight for name, weight in whole.items() if weight.dim() > 1}
    numbers = sum(weight.numel() for name, weight in weights.items() if ".gate." not in name)
    bytes = sum(weight.numel() for weight in state.values() if weight.dtype == torch.uint8)
    assert numbers <= bytes < 2 * numbers  # rounded up to panels of 64, here more than half
    assert not any(weight.dim() > 2 and weight.is_floating_point() for weight in state.values())
    card = (small.path / "README.md").read_text()
    assert card.count("The weights of this copy are in int8") == 1
    assert (
        card.replace(card.split("\n\n")[1] + "\n\n", "") == (model.path / "README.md").read_text()
    )
    assert main(["model", "info", str(small.path)]) == 0
    assert "weights in int8" in capsys.readouterr().out
    of_both = (summary(str(one.checkpoint))["parameters_in_experts"] for one in (small, model))
    assert next(of_both) >= next(of_both) > 0


def test_the_same_folder_gives_the_same_bytes(model, tmp_path) -> None:
    packed = [tmp_path / "a.zip", tmp_path / "new" / "b.zip"]
    for out in packed:
        assert main(["model", "pack", str(model.path), "--int8", "--out", str(out)]) == 0
    assert packed[0].read_bytes() == packed[1].read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "new"}


def test_an_ensemble_of_both(model, small) -> None:
    found = load(f"{model.path}:{small.path}")
    assert [one.int8 for one in found.models] == [False, True]
    assert found.translator()(KNOWN[:3]) == load(model.path).translator()(KNOWN[:3])


def error(capsys, *arguments: object) -> str:
    assert main([*map(str, arguments)]) == 1
    text = capsys.readouterr().err.strip()
    assert "\n" not in text
    return text


def test_what_cannot_be_is_one_line(model, small, language_folder, tmp_path, capsys) -> None:
    text = tmp_path / "text"
    text.write_text("a\n")
    capsys.readouterr()
    for kind in ("zip", "tar.gz"):
        packed = tmp_path / f"packed.{kind}"
        assert main(["model", "pack", str(model.path), "--out", str(packed)]) == 0
        capsys.readouterr()
        found = error(capsys, "translate", packed, text)
        assert found == f"error: {packed} is packed: nmt-moe model unpack {packed}"
    found = error(capsys, "model", "pack", small.path, "--int8")
    assert found == f"error: {small.path} is in int8 already: pack it without --int8"
    training = ["train", "--from", small.path, "--out", tmp_path / "new", text, text]
    assert "small is in int8, for translating only: give the model in float32" in error(
        capsys, *training
    )
    assert "is opened in int8, which is for CPUs: let the device be cpu" in error(
        capsys, "translate", small.path, text, "--device", "meta"
    )
    assert "is in int8, which has no mean" in error(
        capsys, "checkpoint", "average", "--out", tmp_path / "mean.pt", small.checkpoint
    )
    assert "is in int8, for translating only: name the one in float32" in error(
        capsys, "report", small.path, text, text
    )
    language = language_folder / "checkpoint_best.pt"
    assert "is no translation model, and int8 is for those alone" in error(
        capsys, "translate", language, text, "--int8"
    )
    with pytest.raises(UserError, match="for a model that is opened here"):
        Translator(load(model.path), int8=True)
    with pytest.raises(UserError, match="a model in int8 is for translating only"):
        load(small.path).model.train()


def test_a_model_of_another_kind(model, tmp_path, capsys) -> None:
    shutil.copytree(model.path, tmp_path / "m")
    state = torch.load(model.checkpoint)
    state["cfg"]["model"]["_name"] = "lstm"
    torch.save(state, tmp_path / "m" / "model.pt")
    capsys.readouterr()
    assert error(capsys, "translate", tmp_path / "m" / "model.pt", "--int8") == (
        "error: int8 is for translation models of lstm_moe, this one is lstm"
    )


def test_damage_is_found(small, tmp_path, capsys) -> None:
    shutil.copytree(small.path, tmp_path / "m")
    about = json.loads((tmp_path / "m" / "model.json").read_text())
    about["sha256"]["model.pt"] = "0" * 64
    (tmp_path / "m" / "model.json").write_text(json.dumps(about))
    assert "model.pt is not the file" in error(capsys, "model", "pack", tmp_path / "m", "--int8")


def test_fairseq_translates_with_either(model, small, monkeypatch, capsys) -> None:
    expected = translated(monkeypatch, capsys, str(small.path), "--lines-are-sentences")
    for found, more in ((small, []), (model, ["--int8"])):
        program, *arguments = found.interactive().split()
        text = "\n".join(KNOWN) + "\n"
        printed = commands.run(program, *arguments, *more, "--cpu", input=text).stdout
        lines = [line.split("\t")[2] for line in printed.splitlines() if line.startswith("D-")]
        assert lines == expected
