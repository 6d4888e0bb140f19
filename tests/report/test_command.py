"""``python -m nmt_moe.report`` as a user has it, on models of random weights."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt_moe.checkpoint.parts import MARK, new_mark
from nmt_moe.report import __main__ as command
from nmt_moe.trained import Encoder, load
from tests.report.experts import sentences, write_binary, write_checkpoint


@pytest.fixture(scope="module")
def translation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("translation"))


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("language"), "lstm_moe_lm")


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows the tags of two languages."""
    return write_checkpoint(tmp_path_factory.mktemp("several"), symbols=["<2xx>", "<2yy>"])


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ``test.en``, its references and their domains."""
    folder = tmp_path_factory.mktemp("text")
    sources = sentences(40)
    sources[3] = "the\u00a0 small\ue000 dog"  # with a character of private use
    lines = {"en": sources, "xx": sentences(40, seed=1)}
    lines["domain"] = ["zoo" if "cat" in source else "farm" for source in sources]
    for ending, of_file in lines.items():
        (folder / f"test.{ending}").write_text("".join(f"{line}\n" for line in of_file))
    return folder


def content(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    capsys.readouterr()
    assert command.main(["--device", "cpu", "--json", *map(str, arguments)]) == 0
    return json.loads(capsys.readouterr().out)


def error(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert command.main(["--device", "cpu", "--json", *map(str, arguments)]) == 1
    out, err = capsys.readouterr()
    assert not out
    [line] = [line for line in err.splitlines() if not line.startswith("warning")]
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def binary(folder: Path, checkpoint: Path, text: Path, split: str = "test") -> Path:
    """The text as fairseq-preprocess would write it."""
    encoder = Encoder(load(checkpoint))
    lines = {side: (text / f"test.{side}").read_text().split("\n")[:-1] for side in ("en", "xx")}
    sides = {
        ".en-xx.en": list(map(encoder.source, lines["en"])),
        ".en-xx.xx": list(map(encoder.target, lines["xx"])),
    }
    return write_binary(folder, split, sides, checkpoint.parent)


def test_text_and_binary_data_give_the_same(translation, text, tmp_path, capsys) -> None:
    of_text = content(capsys, translation, text / "test.en", text / "test.xx")
    folder = binary(tmp_path / "bin", translation, text)
    labels = ["--labels", text / "test.domain"]
    of_binary = content(capsys, translation, folder, *labels, "--split", "test")
    assert of_text.pop("data") | {"name": f"{folder}/test"} == of_binary.pop("data")
    assert of_text == of_binary
    assert of_text["checkpoint"] == str(translation) and of_text["arch"] == "lstm_moe"
    assert (of_text["task"], of_text["languages"]) == ("translation", ["en", "xx"])
    assert of_text["updates"] == 123
    assert [layer["name"] for layer in of_text["layers"]] == ["encoder.2", "decoder.1"]
    for layer in of_text["layers"]:
        assert layer["gating"] == "noisy_top_k" and layer["groups"] is None and layer["k"] == 2
        assert set(layer["information"]["label"]) == {
            *("bits", "shuffled", "entropy", "experts_entropy"),
        }
        for details in layer["details"]:
            assert list(details) == ["contexts", "typical", "labels", "nearest"]
            assert {entry["label"] for entry in details["labels"]} <= {"zoo", "farm"}
    assert "▁sees" in {piece for shown in of_text["sentences"] for piece in shown["source"]}


def test_text_is_cleaned_as_for_translation(translation, text) -> None:
    encoder = Encoder(load(translation))
    line = (text / "test.en").read_text().split("\n")[3]
    assert "\ue000" in line
    assert encoder.source(line).tolist() == encoder.source("the small dog").tolist()
    assert encoder.target(line).tolist() == encoder.target("the small dog").tolist()


def test_splits_of_a_folder(translation, text, tmp_path, capsys) -> None:
    folder = binary(tmp_path / "bin", translation, text, "valid")
    assert content(capsys, translation, folder)["data"]["name"] == f"{folder}/valid"
    assert content(capsys, translation, folder)["data"]["labels"] is None
    message = error(capsys, translation, folder, "--split", "train")
    assert message == f"{folder} holds no train set of en-xx: choose with --split"
    binary(folder, translation, text)
    found = content(capsys, translation, folder, "--limit", 7)["data"]
    assert (found["name"], found["sentences"]) == (f"{folder}/test", 7)

    # One folder serves both directions.
    other = tmp_path / "other"
    other.mkdir()
    for file in folder.iterdir():
        (other / file.name.replace("en-xx", "xx-en")).write_bytes(file.read_bytes())
    assert content(capsys, translation, other, "--limit", 7)["data"]["sentences"] == 7


def test_without_references_the_model_translates(translation, text, tmp_path, capsys) -> None:
    (tmp_path / "some.en").write_text("".join(f"{line}\n" for line in sentences(3)))
    shutil.copytree(translation.parent, tmp_path / "run")
    checkpoint = tmp_path / "run" / translation.name
    state = torch.load(checkpoint)
    state["cfg"]["task"]["max_target_positions"] = 2000  # an untrained model does not end
    torch.save(state, checkpoint)
    found = content(capsys, checkpoint, tmp_path / "some.en")
    trained = load(checkpoint)
    translated = trained.translator()(sentences(3))
    (tmp_path / "some.xx").write_text("".join(f"{line}\n" for line in translated))
    assert found == content(capsys, checkpoint, tmp_path / "some.en", tmp_path / "some.xx")


def test_sentences_of_the_user(translation, text, capsys) -> None:
    typed = ["--sentence", "the dog ||| a cat", "--sentence", "the dog"]
    shown = content(capsys, translation, text / "test.en", text / "test.xx", *typed)["sentences"]
    one, two = shown[-2:]
    assert one["source"] == two["source"] and "".join(one["source"]) == "▁the▁dog</s>"
    assert one["target"][0] == two["target"][0] == "</s>"
    assert "".join(one["predicted"]) == "▁a▁cat</s>"
    trained = load(translation)
    [translated] = trained.translator()(["the dog"])
    words = trained.task.target_dictionary
    assert two["predicted"] == [words[token] for token in Encoder(trained).target(translated)]
    message = error(
        capsys, translation, text / "test.en", text / "test.xx", "--sentence", "a|||b|||c"
    )
    assert message == "--sentence 'a|||b|||c' is not 'source' or 'source ||| target'"


def test_a_language_model(language, text, tmp_path, capsys) -> None:
    of_text = content(capsys, language, text / "test.en", "--sentence", "the dog")
    assert (of_text["task"], of_text["languages"]) == ("language_modeling", None)
    assert of_text["data"]["source_tokens"] == 0 and of_text["data"]["labels"] == ["farm", "zoo"]
    [layer] = of_text["layers"]
    assert layer["name"] == "decoder.1" and layer["tokens"] == of_text["data"]["target_tokens"]
    shown = of_text["sentences"][-1]
    assert shown["target"][:2] == ["</s>", "▁the"] and shown["predicted"][-1] == "</s>"
    assert shown["source"] == [] and shown["attention"] is None

    encoder = Encoder(load(language))
    lines = (text / "test.en").read_text().split("\n")[:-1]
    sides = {"": list(map(encoder.target, lines))}
    folder = write_binary(tmp_path / "bin", "test", sides, language.parent)
    labels = ["--labels", text / "test.domain"]
    of_binary = content(capsys, language, folder, *labels, "--sentence", "the dog")
    assert of_text.pop("data") | {"name": f"{folder}/test"} == of_binary.pop("data")
    assert of_text == of_binary

    message = error(capsys, language, text / "test.en", text / "test.xx")
    assert message == f"a language model reads one text: leave out {text / 'test.xx'}"
    message = error(capsys, language, text / "test.en", "--sentence", "a ||| b")
    assert message == "--sentence 'a ||| b': a language model has no target"


def test_a_language_model_that_predicts_fewer_words(text, tmp_path, capsys) -> None:
    checkpoint = write_checkpoint(tmp_path, "lstm_moe_lm", predicted=20)
    shown = content(capsys, checkpoint, text / "test.en", "--limit", 5)["sentences"][0]
    words = load(checkpoint).task.source_dictionary
    pieces = [words.index(piece) for piece in shown["target"][1:]]
    assert max(pieces) >= 20 and words.unk() not in pieces
    line = (text / "test.en").read_text()
    assert "".join(shown["target"][1:]).replace("▁", " ").strip() in line


def test_tags_are_labels(several, text, tmp_path, capsys) -> None:
    words = load(several).task.source_dictionary
    tokens = {tag: torch.tensor([words.index(tag), 9, 10, 2]) for tag in ("<2xx>", "<2yy>")}
    sides = {".en-xx.en": [*tokens.values(), tokens["<2xx>"]], ".en-xx.xx": [tokens["<2xx>"]] * 3}
    folder = write_binary(tmp_path / "bin", "test", sides, several.parent)
    found = content(capsys, several, folder)
    assert found["data"]["labels"] == ["xx", "yy"]
    encoder, _ = found["layers"]
    assert encoder["information"]["label"]["entropy"] == pytest.approx(0.918296, abs=1e-6)
    assert "<2xx>" in json.dumps(encoder["details"])

    paths = [text / "test.en", text / "test.xx"]
    assert "choose one with --target-lang" in error(capsys, several, *paths, "--target-lang", "zz")
    shown = content(capsys, several, *paths, "--target-lang", "yy")["sentences"]
    assert {sentence["source"][0] for sentence in shown} == {"<2yy>"}


def test_two_models(translation, text, tmp_path, capsys) -> None:
    dense = write_checkpoint(tmp_path, feed_forward="dense")
    paths = [text / "test.en", text / "test.xx"]
    first, second = content(capsys, "--compare", translation, dense, *paths)
    assert first == content(capsys, translation, *paths)
    assert second["layers"] == [] and second["data"]["name"] == first["data"]["name"]
    assert second["data"]["perplexity"] != first["data"]["perplexity"]
    assert [shown["source"] for shown in second["sentences"]] == [
        shown["source"] for shown in first["sentences"]
    ]

    # The data of the first one's training, where none is named.
    state = torch.load(translation, weights_only=True)
    state["cfg"]["task"]["data"] = str(binary(tmp_path / "bin", translation, text))
    torch.save(state, tmp_path / "moved.pt")
    first, second = content(capsys, "--compare", tmp_path / "moved.pt", dense)
    assert first["data"]["name"] == second["data"]["name"] == f"{tmp_path}/bin/test"


def test_a_dense_model_shows_what_it_can(text, tmp_path, capsys) -> None:
    dense = write_checkpoint(tmp_path, feed_forward="none")
    assert command.main([*map(str, [dense, text / "test.en", text / "test.xx", "--json"])]) == 0
    out, err = capsys.readouterr()
    assert err == (
        f"{dense} has no mixture of experts: the report shows the model, its perplexity, and its "
        "attention in a few sentences\n"
    )
    found = json.loads(out)
    assert found["layers"] == [] and found["data"]["perplexity"] > 1
    assert found["sentences"][0]["attention"] and found["model"]["stacks"]


def test_checkpoints_that_are_none(translation, text, tmp_path, capsys) -> None:
    data = [text / "test.en", text / "test.xx"]
    assert error(capsys, tmp_path / "a.pt", *data) == f"there is no checkpoint {tmp_path}/a.pt"
    assert "is a folder: name a file in it" in error(capsys, tmp_path, *data)
    (tmp_path / "none-rank-0.pt").touch()
    assert "none.pt is there in parts" in error(capsys, tmp_path / "none.pt", *data)
    (tmp_path / "cut.pt").write_bytes(translation.read_bytes()[:5000])
    assert "cut.pt is no checkpoint, or is damaged" in error(capsys, tmp_path / "cut.pt", *data)

    state = torch.load(translation, weights_only=True)

    def changed(name: str, **changes: Any) -> Path:
        torch.save(state | changes, tmp_path / name)
        return tmp_path / name

    part = changed("part.pt", **{MARK: new_mark(0, 2, 2, "run", 1)})
    assert "part.pt is a part of a checkpoint" in error(capsys, part, *data)
    assert "is of an older fairseq" in error(capsys, changed("old.pt", cfg=None), *data)
    cfg = state["cfg"]
    other = changed("arch.pt", cfg=cfg | {"model": {"_name": "transformer"}})
    assert "is of --arch transformer, which is none of this" in error(capsys, other, *data)
    other = changed("task.pt", cfg=cfg | {"task": {"_name": "masked_lm"}})
    assert "was trained with --task masked_lm" in error(capsys, other, *data)
    alone = changed("alone.pt")
    message = error(capsys, alone, *data)
    assert message.startswith(f"neither {tmp_path} nor ")
    for name in ("dict.en.txt", "dict.xx.txt"):
        (tmp_path / name).write_bytes((translation.parent / name).read_bytes())
    assert "copy the sentencepiece model of the training there" in error(capsys, alone, *data)
    model = translation.parent / "sentencepiece.model"
    assert content(capsys, alone, *data, "--sentencepiece-model", model)["layers"]
    (tmp_path / "dict.xx.txt").write_text("red 1\n")
    assert "was trained with another vocabulary" in error(capsys, alone, *data)


def test_languages_that_nothing_says(translation, text, tmp_path, capsys) -> None:
    state = torch.load(translation, weights_only=True)
    state["cfg"]["task"] |= {"source_lang": None, "target_lang": None}
    unnamed = translation.parent / "unnamed.pt"
    torch.save(state, unnamed)
    paths = [text / "test.en", text / "test.xx"]
    assert "name those of its training with --source-lang" in error(capsys, unnamed, *paths)
    languages = ["--source-lang", "en", "--target-lang", "xx"]
    named = content(capsys, unnamed, *paths, *languages)
    assert named["languages"] == ["en", "xx"]
    # A folder names its files after them.
    folder = binary(tmp_path / "bin", translation, text)
    assert content(capsys, unnamed, folder)["layers"] != []


def test_data_that_does_not_fit(translation, language, text, tmp_path, capsys) -> None:
    source, target = text / "test.en", text / "test.xx"
    message = error(capsys, translation, tmp_path / "gone")
    assert message == f"there is no {tmp_path}/gone: name a folder of fairseq-preprocess, or text"
    assert "holds no dict.en.txt: it is no folder of fairseq" in error(
        capsys, translation, tmp_path
    )
    folder = binary(tmp_path / "bin", translation, text)
    assert f"leave out {target}" in error(capsys, translation, folder, target)
    assert "name the file with the references" in error(capsys, translation, source, folder)
    assert "--split is for a folder" in error(capsys, translation, source, "--split", "test")

    (tmp_path / "short.xx").write_text("a dog\n")
    message = error(capsys, translation, source, tmp_path / "short.xx")
    assert message.startswith(f"{source} has 40 lines but {tmp_path}/short.xx has 1:")
    (tmp_path / "latin.en").write_bytes(b"a dog\nna\xefve\n")
    assert "latin.en, line 2: not valid UTF-8" in error(capsys, translation, tmp_path / "latin.en")
    (tmp_path / "empty.en").touch()
    message = error(capsys, translation, tmp_path / "empty.en", tmp_path / "empty.en")
    assert message == f"{tmp_path}/empty.en holds no sentences"

    (tmp_path / "labels").write_text("zoo\n")
    of = ["--labels", tmp_path / "labels"]
    message = error(capsys, translation, source, target, *of)
    assert message.startswith(f"{tmp_path}/labels has 1 labels, {source} has 40 sentences:")
    assert "gone: cannot be read" in error(
        capsys, translation, source, target, "--labels", tmp_path / "gone"
    )

    other = folder / "dict.en.txt"
    first, second, rest = other.read_text().split("\n", 2)
    other.write_text("\n".join([first + "0", second, rest]))  # another count is no other word
    content(capsys, translation, folder, "--limit", 1)
    other.write_text("\n".join([second, first, rest]))
    message = error(capsys, translation, folder)
    assert message.startswith(f"{folder} has another vocabulary than the checkpoint: {other} dif")


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_data_that_is_damaged(translation, text, tmp_path, capsys) -> None:
    folder, hook = binary(tmp_path / "bin", translation, text), sys.unraisablehook
    whole = {
        name: (folder / name).read_bytes() for name in ("test.en-xx.en.bin", "test.en-xx.xx.idx")
    }
    for name, data in whole.items():
        for size in (len(data) // 2, 0):
            (folder / name).write_bytes(data[:size])
            message = error(capsys, translation, folder)
            assert sys.unraisablehook is hook
            assert message.startswith(f"{folder}/test"), name
            assert message.endswith(".* are damaged or incomplete: run fairseq-preprocess again")
        (folder / name).write_bytes(data)
    assert content(capsys, translation, folder)["layers"]


def test_where_it_writes_is_known_before_any_work(text, tmp_path, capsys) -> None:
    message = error(capsys, "no checkpoint", "no data", "--out", tmp_path / "gone" / "report.html")
    assert message.startswith(f"there is no folder {tmp_path}/gone for report.html")
    message = error(capsys, "no checkpoint", "no data", "--out", tmp_path)
    assert message.startswith(f"--out {tmp_path} is a folder: name a file in it")
    needed = "1 path is too few or too many: type nmt-moe report CHECKPOINT DATA [REFERENCES]"
    assert needed in error(capsys, "a.pt")
    assert "too few or too many" in error(capsys, "--compare", "a.pt")
    assert "too few or too many" in error(capsys, "a.pt", "b", "c", "d")
    assert command.main(["a.pt", "b", "--device", "nothing", "--json"]) == 1
    assert "there is no device nothing here: use --device cpu" in capsys.readouterr().err
