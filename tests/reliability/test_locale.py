"""Text that the locale cannot print ends no command: escapes for people, UTF-8 for translations."""

import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from nmt_moe.cli import main as cli
from nmt_moe.common.files import atomic_write
from nmt_moe.corpus.clean.__main__ import main as clean
from nmt_moe.corpus.wordpieces.__main__ import main as wordpieces
from nmt_moe.fairseq_fixes.errors import _lose
from nmt_moe.report.__main__ import main as report
from nmt_moe.report.summary import main as summary
from nmt_moe.runs.progress import main as progress
from nmt_moe.runs.testset import _newstests
from nmt_moe.score.__main__ import main as score
from tests.commands import PLUGIN
from tests.reliability.stages import Stage, generate, interactive

LOCALES = ("ascii", "iso-8859-1")
LINES = {"en": "Good morning to you.\nA well-known name.\n", "de": "Grüß dich – schön!\n李白: É.\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus of which no encoding but UTF-8 has all characters, in a folder of that kind."""
    made = tmp_path / "größe李"
    made.mkdir()
    for language, text in LINES.items():
        (made / f"text.{language}").write_text(text * 2, encoding="utf-8")
    figures = '{"epoch": 1, "update": 0.5, "loss": "9.1", "num_updates": "10"}'
    (made / "train.log").write_text(f"2026-01-01 | INFO | train_inner | {figures}\n")
    (made / "settings").write_text(f"from={made}\n", encoding="utf-8")
    (made / "examples").mkdir()
    (made / "examples/source.txt").write_text(LINES["en"])
    translated = "".join(f"D-0\t-0.1\t{line}\n" for line in LINES["de"].splitlines())
    (made / "examples/translated.txt").write_text(translated, encoding="utf-8")
    return made


def printed(encoding: str, main: Callable[[list[str]], int], *words: str) -> str:
    """What a command prints where standard output has an encoding that lacks most characters."""
    written = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(written, encoding, errors="strict")) as stream:
        assert main([*words]) == 0
        stream.flush()
    return written.getvalue().decode(encoding)


COMMANDS = {
    "clean": (clean, "{f}/text --langs en de --out {f}/out --workers 1 --report {f}/report.json"),
    "train": (wordpieces, "train {f}/text.de --vocabulary 40 --out {f}/model"),
    "score": (score, "{f}/text.de {f}/text.de --target-lang de --title {f} --json {f}/scores"),
    "curves": (report, "--curves {f} --out {f}/curves.html"),
    "curves as JSON": (report, "--curves {f} --json"),
    "summary": (summary, "{f}"),
}


@pytest.mark.parametrize("encoding", LOCALES)
@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name: str, encoding: str, folder: Path, tally) -> None:
    main, line = COMMANDS[name]
    text = printed(encoding, main, *line.format(f=folder).split())
    tally(inputs=1)
    assert r"\u674e" in text
    if name != "curves as JSON":
        assert ("größe" if encoding == "iso-8859-1" else r"gr\xf6\xdfe") in text
    if name == "clean":
        found = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        assert "李白" in str(found["removed"])


def test_every_help(tally) -> None:
    for words in cli.COMMANDS:
        assert cli.build_parser(words).format_help().isascii(), words
        tally(inputs=1)


@pytest.mark.parametrize("encoding", LOCALES)
def test_progress_of_a_log_of_any_bytes(encoding: str, monkeypatch) -> None:
    log = "| WARNING | grün 李\n".encode() + b"error: \xff\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(log), encoding="ascii"))
    shown = printed(encoding, progress).splitlines()
    assert r"\u674e" in shown[0] and shown[1] == r"error: \xff"


def test_a_path_that_is_no_utf8(tmp_path: Path) -> None:
    with atomic_write([tmp_path / "file"]) as [file]:
        file.write(json.dumps({"path": os.fsdecode(b"\xff")}, ensure_ascii=False))
    assert json.loads((tmp_path / "file").read_text()) == {"path": "\udcff"}
    (tmp_path / "settings").write_bytes(b"from=\xff\ntest=full filtered\n")
    assert _newstests(tmp_path) == ["full", "filtered"]


def test_cleaning_as_typed(folder: Path) -> None:
    """In a process of its own, in a real locale where one can be made."""
    environment = {name: value for name, value in os.environ.items() if name[:3] != "LC_"}
    made = folder.parent / "locales"
    made.mkdir()
    if shutil.which("localedef"):
        command = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(made / "en_US.ISO-8859-1")]
        subprocess.run(command, capture_output=True)
    if any(made.iterdir()):
        environment |= {"LC_ALL": "en_US.ISO-8859-1", "LOCPATH": str(made)}
    else:
        environment |= {"PYTHONIOENCODING": "iso-8859-1"}
    command = [sys.executable, "-m", "nmt_moe.corpus.clean", "text", "--langs", "en", "de"]
    command += ["--workers", "1", "--out", "out"]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True)
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    assert "Gr\xfc\xdf dich \\u2013 sch\xf6n!" in ended.stdout.decode("iso-8859-1")


def _in_ascii() -> None:
    for stream in (sys.stdin, sys.stdout):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(encoding="ascii", errors="strict")


def test_translations_are_utf8(text: Path, tmp_path: Path, tally) -> None:
    """Whatever the locale; and so is what is read."""
    link = tmp_path / "größe"
    link.symlink_to(text)
    model = "--path {t}/run/checkpoint_last.pt --beam 1 --max-len-b 9 --cpu"
    options = f"{{t}}/pieces/bin {model} --user-dir {PLUGIN}"
    given = tmp_path / "given"
    given.write_text("▁w 1 ▁w 2\n", encoding="utf-8")
    for main in (generate, interactive):
        ended = Stage(main, options, stdin=str(given)).run(link, link, tmp_path, _in_ascii)
        assert ended.code == 0 and "rror" not in ended.stderr, ended
        assert "größe" in ended.stdout and re.search(r"^H-\d+\t.*▁", ended.stdout, re.MULTILINE)
        tally(inputs=1)
    [source] = re.findall(r"^S-0\t(.*)$", ended.stdout, re.MULTILINE)
    assert source == "▁w 1 ▁w 2"


def test_a_line_of_a_log(monkeypatch, capfd) -> None:
    """``--log-file`` is in the encoding of the locale."""
    monkeypatch.setattr(logging.Handler, "handleError", _lose(logging.Handler.handleError))
    written = io.BytesIO()
    handler = logging.StreamHandler(io.TextIOWrapper(written, "ascii", write_through=True))
    handler.handle(logging.makeLogRecord({"msg": "größe"}))
    assert written.getvalue() == rb"gr\xf6\xdfe" + b"\n" and not capfd.readouterr().err
