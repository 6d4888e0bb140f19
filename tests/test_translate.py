"""``python -m nmt_moe.translate``: text in, text out, as a user has it."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nmt_moe.checkpoint.parts import MARK, new_mark
from nmt_moe.corpus.wordpieces import model as wordpieces
from nmt_moe.trained import load
from nmt_moe.trained.text import cleaned
from nmt_moe.translate import __main__ as command
from tests import preloaded, recipes
from tests.commands import PLUGIN, run, train

slow = pytest.mark.slow
WORDS = "red blue green big small old new dog cat bird sees likes the a".split()
CPU = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def prepared(folder: Path, tags: bool = False) -> Path:
    """A corpus in wordpieces: sentences and their words in reverse, upper case where tagged so."""
    chance = random.Random(0)
    for split, size in {"train": 300, "valid": 20}.items():
        sources = [" ".join(chance.choices(WORDS, k=chance.randint(2, 7))) for _ in range(size)]
        targets = [" ".join(source.split()[::-1]) for source in sources]
        for language, lines in (("en", sources), ("xx", targets)):
            text = "".join(f"{line[0].upper()}{line[1:]}.\n" for line in lines)
            (folder / f"{split}.{language}").write_text(text)
    files = [folder / "train.en", folder / "train.xx"]
    wordpieces.train(files, folder / "model", 90)
    model = wordpieces.load(folder / "model.model")
    dictionary = folder / "model.dict.txt"
    if tags:
        dictionary.write_text(dictionary.read_text() + "<2xx> 1\n<2yy> 1\n")
    for split in ("train", "valid"):
        for language in ("en", "xx"):
            lines = (folder / f"{split}.{language}").read_text().splitlines()
            first = "<2xx> " if tags and language == "en" else ""
            pieces = [first + " ".join(model.encode(line, out_type=str)) for line in lines]
            (folder / f"{split}.p.{language}").write_text("\n".join(pieces) + "\n")
    prefixes = [f"--{split}pref={folder / split}.p" for split in ("train", "valid")]
    languages = ["--source-lang", "en", "--target-lang", "xx", "--joined-dictionary"]
    options = ["--srcdict", dictionary, "--destdir", folder / "bin"]
    run("fairseq-preprocess", *languages, *prefixes, *options)
    return folder


def learned(folder: Path, *options: object) -> Path:
    """The checkpoint of a short training, with all that it needs beside it."""
    train(folder / "bin", folder / "run", *options)
    for language in ("en", "xx"):
        shutil.copy(folder / "bin" / f"dict.{language}.txt", folder / "run")
    shutil.copy(folder / "model.model", folder / "run" / "sentencepiece.model")
    return folder / "run" / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = prepared(tmp_path_factory.mktemp("translate"))
    return learned(folder, "--max-update", 150, "--lr", 0.02)


def start(checkpoint: Path | str, *options: object, fresh: bool = True) -> subprocess.Popen[bytes]:
    """A ``fresh`` one has another locale, and imports all it needs, see :mod:`tests.preloaded`."""
    words = ["-m", "nmt_moe.translate", str(checkpoint), *map(str, options)]
    return subprocess.Popen(
        [sys.executable, *words] if fresh else preloaded.command("python", *words),
        env=os.environ | CPU | ({"LC_ALL": "C"} if fresh else {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def translate(
    checkpoint: Path | str, text: bytes, *options: object, fresh: bool = False
) -> tuple[list[str], str]:
    """The lines of the output, and what was said on stderr."""
    process = start(checkpoint, "--device", "cpu", *options, fresh=fresh)
    out, err = process.communicate(text, timeout=200)
    assert process.returncode == 0, err.decode()
    assert out.endswith(b"\n") or not out
    return out.decode("utf-8").split("\n")[:-1], err.decode()


def sentences(checkpoint: Path) -> list[str]:
    return (checkpoint.parents[1] / "valid.en").read_text().splitlines()


@slow
def test_sentences_become_what_fairseq_interactive_says(checkpoint) -> None:
    lines = sentences(checkpoint)
    text = "".join(f"{line}\n" for line in lines)
    options = ["--user-dir", PLUGIN, "--path", checkpoint, "--cpu", "--task", "gnmt_translation"]
    options += ["--bpe", "sentencepiece", "--sentencepiece-model"]
    options += [checkpoint.parent / "sentencepiece.model", "--beam", 3, "--max-len-b", 250]
    data = checkpoint.parents[1] / "bin"
    finished = run("fairseq-interactive", data, *options, "--gnmt-beta", 0.5, input=text)
    expected = re.findall(r"^D-\d+\t\S+\t(.*)$", finished.stdout, re.MULTILINE)
    assert len(expected) == 20 and len(set(expected)) > 10
    search = ["--beam", 3, "--gnmt-beta", 0.5]
    assert translate(checkpoint, text.encode(), *search) == (expected, "")
    small = [*search, "--batch-size", 1, "--buffer-lines", 3, "--lines-are-sentences"]
    assert translate(checkpoint, text.encode(), *small) == (expected, "")


@slow
def test_every_line_has_its_translation_whatever_it_holds(checkpoint) -> None:
    one, two, three = sentences(checkpoint)[:3]
    long = " ".join(WORDS * 70)
    lines = [
        *(one, "", "  \r", f"{one} {two}", f"\ufeff{two}", f"{one[:-1]}\r {two[:3]}\0{three}"),
        *("\u2028", f"{one}\r\n{two}", long, "dog" * 1000, "犬 " * 300, "\u200b", "?!", three),
    ]
    text = "\n".join(lines).encode().replace(b"big", b"b\xffig")  # and no line feed at the end
    found, errors = translate(checkpoint, text, "--beam", 2, "--max-pieces", 20, fresh=True)
    asked = "\n".join(lines).split("\n")
    assert len(found) == len(asked) == len(lines) + 1
    assert [not line for line in found].count(True) >= 3
    for line, answer in zip(asked, found, strict=True):
        assert not answer or line.strip("\r \u2028\u200b")
        assert answer == " ".join(answer.split())
    assert found[3] == f"{found[0]} {found[8]}" and found[4] == found[8]
    assert found[9].count(".") > 40 and len(found[10]) > 200  # many parts
    assert errors == "" or re.fullmatch(r"warning: line \d+ is not valid UTF-8: replaced\n", errors)
    assert bool(errors) == (b"\xff" in text)


@slow
def test_a_long_sentence_is_translated_in_parts(checkpoint) -> None:
    translator = load(checkpoint).translator(beam=2, batch_size=8, max_pieces=12)
    whole = " ".join(["the old dog sees a cat"] * 6)
    pieces = wordpieces.load(checkpoint.parent / "sentencepiece.model")
    parts, rest = [], pieces.encode(whole, out_type=str)
    while rest:
        ends = [i for i in range(1, 13) if i >= len(rest) or rest[i].startswith("▁")]
        end = len(rest) if len(rest) <= 12 else max(ends)
        parts.append(pieces.decode_pieces(rest[:end]))
        rest = rest[end:]
    assert len(parts) > 2 and " ".join(parts) == whole
    assert translator([whole, parts[0]]) == [" ".join(translator(parts)), translator(parts)[0]]
    assert translator([]) == [] and translator(["", cleaned("\u200b")]) == ["", ""]


@slow
def test_a_translation_has_room_for_long_parts(checkpoint) -> None:
    translator = load(checkpoint).translator(beam=1, batch_size=1, max_pieces=300)
    [model] = translator._searcher._models
    probabilities = model.get_normalized_probs

    def endless(*args, **kwargs):
        found = probabilities(*args, **kwargs)
        found[..., translator._task.target_dictionary.eos()] = -1e4
        return found

    model.get_normalized_probs = endless
    lengths = []
    translator._text = lambda tokens: lengths.append(len(tokens)) or ""
    translator([" ".join(WORDS * 20)])
    assert lengths and all(length == 601 for length in lengths)  # with its end


@slow
def test_answers_at_once_and_ends_without_a_word(checkpoint) -> None:
    one, two = (f"{line}\n".encode() for line in sentences(checkpoint)[:2])
    expected = [f"{line}\n".encode() for line in translate(checkpoint, one + two)[0]]
    for ending, code in (("interrupt", -signal.SIGINT), ("nobody reads", -signal.SIGPIPE)):
        process = start(checkpoint, "--buffer-lines", 1)
        for line, answer in zip((one, two), expected, strict=True):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == answer
        if ending == "interrupt":
            process.send_signal(signal.SIGINT)
        else:
            process.stdout.close()
            process.stdin.write(one)
            process.stdin.flush()
        assert process.wait(200) == code
        assert process.stderr.read() == b""
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()


def test_help_of_the_recipe_needs_no_installation(tmp_path) -> None:
    copied = tmp_path / "recipes"
    copied.mkdir()
    for name in ("translate.sh", "common.sh"):  # and no setup.sh
        shutil.copy(recipes.ROOT / "recipes" / name, copied)
    for argument in ("-h", "--help"):
        finished = recipes.run(copied / "translate.sh", argument)
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout.startswith("usage: recipes/translate.sh CHECKPOINT")
    assert "which checkpoint?" in recipes.error(recipes.run(copied / "translate.sh"))


@slow
def test_the_recipe_translates_with_an_ensemble_from_anywhere(checkpoint, tmp_path) -> None:
    lines = sentences(checkpoint)[:5]
    text = "".join(f"{line}\n" for line in lines).encode()
    alone, _ = translate(checkpoint, text)
    script = recipes.ROOT / "recipes" / "translate.sh"
    finished = subprocess.run(
        [script, f"run/{checkpoint.name}:run/{checkpoint.name}", "--progress", "--device", "cpu"],
        cwd=checkpoint.parents[1],
        env=recipes.environment(),
        input=text,
        capture_output=True,
        timeout=200,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.decode().splitlines() == alone


@slow
def test_a_model_of_several_languages_is_told_which(tmp_path) -> None:
    tagged = learned(prepared(tmp_path, tags=True), "--max-update", 60, "--lr", 0.02)
    process = start(tagged)
    _, err = process.communicate(b"\n", timeout=100)
    assert process.returncode == 1
    assert err == b"error: the model translates into xx, yy: choose one with --target-lang\n"

    lines = sentences(tagged)
    pieces = wordpieces.load(tagged.parent / "sentencepiece.model")
    for tag in ("xx", "yy"):
        cut = [" ".join([f"<2{tag}>", *pieces.encode(line, out_type=str)]) for line in lines]
        options = ["--user-dir", PLUGIN, "--path", tagged, "--cpu", "--task", "gnmt_translation"]
        options += ["--beam", 4, "--max-len-b", 250]
        finished = run("fairseq-interactive", tmp_path / "bin", *options, input="\n".join(cut))
        found = re.findall(r"^H-\d+\t\S+\t(.*)$", finished.stdout, re.MULTILINE)
        expected = [pieces.decode_pieces(line.split()).strip() for line in found]
        text = "".join(f"{line}\n" for line in lines).encode()
        assert translate(tagged, text, "--target-lang", tag) == (expected, "")


def error(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert command.main([*map(str, arguments)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def test_what_is_missing_is_named(trained, tmp_path, capsys) -> None:
    assert error(capsys, tmp_path / "none.pt") == f"there is no checkpoint {tmp_path}/none.pt"
    assert "a file in it, such as checkpoint_best.pt" in error(capsys, tmp_path)
    (tmp_path / "training").mkdir()
    (best := tmp_path / "training/checkpoint_best.pt").touch()
    assert f"{tmp_path} is a folder: name a file in it, such as {best}" in error(capsys, tmp_path)
    (tmp_path / "none-rank-0.pt").touch()
    assert "none.pt is there in parts: make the parts one" in error(capsys, tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("not a checkpoint")
    assert "text.pt is no checkpoint, or is damaged" in error(capsys, tmp_path / "text.pt")
    torch.save({"model": {}}, tmp_path / "other.pt")
    assert "other.pt is no checkpoint" in error(capsys, tmp_path / "other.pt")
    assert "copy the sentencepiece model of the training there" in error(capsys, trained)
    missing = ["--sentencepiece-model", tmp_path / "none.model"]
    assert f"no sentencepiece model {tmp_path}/none.model" in error(capsys, trained, *missing)
    assert "there is no device gpu" in error(capsys, trained, "--device", "gpu")
    assert "--gnmt-alpha must be at least 0" in error(capsys, trained, "--gnmt-alpha", "nan")

    state = torch.load(trained, weights_only=False)
    torch.save(state | {MARK: new_mark(0, 2, 2, "run", 1)}, tmp_path / "none-rank-0.pt")
    message = error(capsys, tmp_path / "none-rank-0.pt")
    assert "none-rank-0.pt is a part of a checkpoint: make the parts one" in message
    torch.save(state | {"cfg": None}, tmp_path / "old.pt")
    assert "old.pt is of an older fairseq" in error(capsys, tmp_path / "old.pt")
    state["cfg"]["task"]["data"] = str(tmp_path / "gone")
    torch.save(state, tmp_path / "moved.pt")
    message = error(capsys, tmp_path / "moved.pt")
    assert "does not say between which languages it translates" in message
    message = error(capsys, tmp_path / "moved.pt", "--source-lang", "a", "--target-lang", "b")
    assert message.startswith(f"neither {tmp_path} nor {tmp_path}/gone holds dict.a.txt and dict.b")


@slow
def test_what_does_not_belong_together_is_refused(checkpoint, corpus, data, trained, capsys):
    model = checkpoint.parent / "sentencepiece.model"
    of_another = error(capsys, trained, "--sentencepiece-model", model)
    assert f"{model} is of another vocabulary than {data / 'dict.a.txt'}" in of_another
    assert "the model translates into xx only, not into fr" in error(
        capsys, checkpoint, "--target-lang", "fr"
    )

    moved = checkpoint.parents[1] / "other"
    shutil.copytree(checkpoint.parent, moved)
    dictionary = moved / "dict.xx.txt"
    whole = dictionary.read_text()
    dictionary.write_text("".join(whole.splitlines(keepends=True)[:-20]))
    assert "was trained with another vocabulary than the" in error(capsys, moved / checkpoint.name)
    dictionary.write_text("no dictionary at all\n")
    assert f"{dictionary} is no dictionary of fairseq" in error(capsys, moved / checkpoint.name)
    first, second, rest = whole.split("\n", 2)
    dictionary.write_text("\n".join([second, first, rest]))
    message = error(capsys, f"{checkpoint}:{moved / checkpoint.name}")
    assert f"has another vocabulary than the first checkpoint: {dictionary} differs" in message
    dictionary.write_text(whole.replace(" 1\n", " 2\n"))  # counts make no other vocabulary
    ensemble = load(checkpoint, moved / checkpoint.name).translator(beam=1, max_pieces=9)
    assert len(ensemble([sentences(checkpoint)[0]])) == 1
    message = error(capsys, f"{checkpoint}:{trained}")
    assert message.startswith(f"{trained} translates a to b, the first checkpoint en to xx: they")

    language_model = ["--task", "language_modeling", "--sample-break-mode", "eos"]
    run(
        "fairseq-preprocess", "--only-source", "--trainpref", corpus / "train.a",
        "--validpref", corpus / "valid.a", "--destdir", moved / "lm",
    )  # fmt: skip
    train(
        moved / "lm", moved / "lm", *language_model, "--arch", "lstm_moe_lm_tiny", "--max-update", 1
    )
    message = error(capsys, moved / "lm" / "checkpoint_last.pt")
    assert "does not translate" in message and "it is a language model" in message
