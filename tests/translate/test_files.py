"""``nmt-moe translate`` with files, by a real model of random weights."""

import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from nmt_moe.trained import load, search
from nmt_moe.trained.alignment import places
from nmt_moe.translate import __main__ as command
from tests import preloaded
from tests.report.experts import write_checkpoint

TEXT = "The <b>old dog</b> sees a Kubernetes cat.\r\n"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model has learned nothing, and would write on and on."""
    monkeypatch.setattr(search, "_MAX_TRANSLATION", 20)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("trained"))


def test_alignments_are_of_the_sentence_itself(checkpoint: Path) -> None:
    """Neither the padding of a batch nor the end of the sentence is in them."""
    translate = load(checkpoint).translator(beam=2, max_pieces=12)
    sentences = ["the dog", "big 犬 red cat", "", "a", "the old dog sees " * 5]
    found = translate.aligned(sentences)
    assert [one.text for one in found] == translate(sentences)
    for sentence, one in zip(sentences, found, strict=True):
        [alone] = translate.aligned([sentence])
        assert (alone.source, alone.target) == (one.source, one.target)
        assert np.allclose(alone.attention, one.attention, atol=1e-5)
        assert one.attention.shape == (len(one.target), len(one.source))
        assert len(one.source) == 0 or one.attention.sum() > 0
        for spans, text in ((one.source, sentence), (one.target, one.text)):
            pieces = "".join(text[start:end] for start, end in spans)
            assert not spans or pieces == "".join(text.split())
    assert [bool(found[number].source) for number in (0, 2, 3, 4)] == [True, False, True, False]


def test_pieces_have_their_places_in_the_text() -> None:
    pieces = ["▁", "a", "<0xE7>", "<0x8A>", "<0xAC>", "▁b.", "c"]
    assert [(start, end) for start, end in places(pieces, "a犬 b.c") or ()] == [
        *[(0, 0), (0, 1), (1, 2), (3, 3), (3, 3), (3, 5), (5, 6)]
    ]
    assert places(pieces, "a犬 b.") is None is places(pieces, "a犬 b.cd")


def error(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert command.main([*map(str, arguments)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    return line.removeprefix("error: ")


def test_files_are_translated_into_files(checkpoint: Path, tmp_path: Path, capsys) -> None:
    page, table, terms = (tmp_path / name for name in ("a.HTML", "b.tsv", "terms.txt"))
    out = tmp_path / "new" / "out"
    page.write_bytes(f"\ufeff<p class='x'>{TEXT}".encode())
    table.write_text(f"text\tid\n{TEXT}".replace("\r", "\t7"), encoding="utf-16")
    terms.write_text("Kubernetes\nold dog\n")
    options = ["--keep", terms, "--device", "cpu", "--beam", "1", "--max-pieces", "30"]
    arguments = [checkpoint, "--out", out, "--column", "text", *options, page, table]
    assert command.main([*map(str, arguments)]) == 0
    found = (out / page.name).read_bytes().decode()
    assert found.startswith("\ufeff<p class='x'>") and found.endswith("\r\n")
    assert found.count("<b>old dog</b>") == 1 and found.count("Kubernetes") == 1
    lines = (out / table.name).read_bytes().decode("utf-16").splitlines()
    assert lines[0] == "text\tid" and lines[1].endswith("\t7") and "Kubernetes" in lines[1]
    assert "sees" not in found + lines[1]
    assert capsys.readouterr().out == ""

    alone = [checkpoint, page, "--out", f"{tmp_path}/alone/", *options]
    assert command.main([*map(str, alone)]) == 0
    assert (tmp_path / "alone" / page.name).read_bytes() == (out / page.name).read_bytes()

    named = [checkpoint, page, "--format", "text", *options]
    assert command.main([*map(str, named)]) == 0
    assert "Kubernetes" in capsys.readouterr().out

    (tmp_path / "old.txt").write_bytes(b"ok\ncaf\xe9\n")
    for message, *given in (
        (f"there is no file {tmp_path}/none", tmp_path / "none"),
        (f"{tmp_path} is a folder: name files in it", tmp_path),
        ("several files need a folder for their translations: name it with --out", page, page),
        ("two files have one name: ", page, page, "--out", out),
        (f"{page} is an input: write to another file", page, "--out", page),
        (f"which column of {table} is to be translated? Name it", table),
        ("--column is for TSV: give --format tsv", page, "--column", "2"),
        (
            f"{table}, line 1: has 2 columns between tabs, no column 3",
            table,
            "--column",
            "3",
            "--out",
            out / "c",
        ),
        (f"{tmp_path}/old.txt, line 2: not valid UTF-8 (byte 4): convert", tmp_path / "old.txt"),
    ):
        assert error(capsys, checkpoint, *given, "--device", "cpu").startswith(message)


def test_ctrl_c_leaves_no_draft(checkpoint: Path, tmp_path: Path) -> None:
    words = preloaded.command("nmt-moe", "translate", checkpoint, "--out", tmp_path / "out")
    with subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # pytest's workers ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        until = time.monotonic() + 60
        while not [*tmp_path.iterdir()] and time.monotonic() < until:
            time.sleep(0.05)
        # Python drops an interrupt that comes within a destructor; a user presses once more.
        while process.poll() is None and time.monotonic() < until:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
        said = process.communicate(timeout=60)[1]
    assert process.returncode and b"stopped by Ctrl-C" in said and b"Traceback" not in said
    assert not [*tmp_path.iterdir()]
