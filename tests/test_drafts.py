"""Files are complete or as they were, wherever their paths lead, and nobody else's are touched."""

import ast
import json
import multiprocessing
import os
import signal
import stat
import threading
import time
from pathlib import Path

import pytest

from nmt_moe.common.files import atomic_write
from nmt_moe.corpus.clean.__main__ import main as clean
from nmt_moe.report.__main__ import main as report
from nmt_moe.score.__main__ import main as score
from tests.recipes import ROOT


def put(text: str, *paths: Path | str) -> None:
    """Write the text and the number of each file."""
    with atomic_write([*map(Path, paths)]) as files:
        for number, file in enumerate(files):
            file.write(f"{text} {number}")


@pytest.fixture
def texts(tmp_path: Path) -> list[str]:
    """The arguments of a command that scores two lines."""
    for language in ("en", "de"):
        (tmp_path / f"text.{language}").write_text(f"eins zwei drei {language}\nvier fünf sechs\n")
    return [f"{tmp_path}/text.en", f"{tmp_path}/text.de", "--target-lang", "de"]


class TestWhereItLeads:
    def test_a_pipe_that_somebody_reads(self, tmp_path: Path, texts: list[str]) -> None:
        pipe, read = tmp_path / "pipe", []
        os.mkfifo(pipe)
        reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
        reader.start()
        assert score([*texts, "--json", str(pipe)]) == 0
        reader.join(60)
        assert json.loads(read[0])["sentences"] == 2
        assert stat.S_ISFIFO(pipe.stat().st_mode)

    def test_pipes_of_a_corpus(self, tmp_path: Path, texts: list[str]) -> None:
        read = {}

        def follow(language: str) -> None:
            read[language] = (tmp_path / f"out.{language}").read_text()

        languages = ("en", "de")
        readers = [threading.Thread(target=follow, args=(one,), daemon=True) for one in languages]
        for language, reader in zip(languages, readers, strict=True):
            os.mkfifo(tmp_path / f"out.{language}")
            reader.start()
        arguments = ["--langs", "en", "de", "--out", str(tmp_path / "out"), "--keep-duplicates"]
        assert clean([str(tmp_path / "text"), *arguments, "--workers", "1"]) == 0
        for reader in readers:
            reader.join(60)
        assert read["en"] == "eins zwei drei en\n"

    @pytest.mark.parametrize("there", [True, False])
    def test_links_stay(self, tmp_path: Path, there: bool) -> None:
        (tmp_path / "far").mkdir()
        target, first, second = tmp_path / "far/file", tmp_path / "first", tmp_path / "second"
        if there:
            target.write_text("old")
        first.symlink_to("far/file")
        second.symlink_to(first)
        put("new", second)
        assert first.is_symlink() and second.is_symlink()
        assert target.read_text() == "new 0" and not target.is_symlink()
        assert os.listdir(tmp_path / "far") == ["file"]

    def test_a_link_to_itself_and_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to("loop")
        for path in (tmp_path / "loop", tmp_path, tmp_path / "no/file"):
            with pytest.raises(OSError) as caught:
                put("new", path)
            assert caught.value.filename == str(path) and caught.value.filename2 is None
        assert os.listdir(tmp_path) == ["loop"]

    @pytest.mark.parametrize("path", ["-", "/dev/fd/1", "link", "/dev/stdout"])
    def test_standard_output(self, path: str, tmp_path: Path, texts: list[str], capfd) -> None:
        if path == "/dev/stdout" and os.geteuid() == 0:
            pytest.skip("what is wrong here could replace it: a link to the same is tried")
        if path == "link":
            path = str(tmp_path / "stdout")
            os.symlink("/dev/fd/1", path)
        assert score([*texts, "--json", path]) == 0
        printed = capfd.readouterr()
        assert json.loads(printed.out)["sentences"] == 2 and "BLEU" in printed.err

    def test_after_what_is_in_the_file_already(self, tmp_path: Path) -> None:
        number = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
        os.write(number, b"before ")
        put("new", f"/dev/fd/{number}")
        os.write(number, b" after")
        os.close(number)
        assert (tmp_path / "log").read_text() == "before new 0 after"

    def test_a_device(self, tmp_path: Path) -> None:
        path = Path("/dev/null")
        if os.geteuid() == 0:  # what is wrong here could replace that one
            path = tmp_path / "null"
            try:
                os.mknod(path, stat.S_IFCHR | 0o666, os.stat("/dev/null").st_rdev)
                path.write_text("")
            except OSError:
                pytest.skip("devices cannot be made or used here")
        put("new", path)
        assert stat.S_ISCHR(path.stat().st_mode)

    def test_other_commands(self, tmp_path: Path, texts: list[str], capfd) -> None:
        arguments = ["--langs", "en", "de", "--out", str(tmp_path / "out"), "--report", "-"]
        assert clean([str(tmp_path / "text"), *arguments, "--workers", "1"]) == 0
        printed = capfd.readouterr()
        assert json.loads(printed.out)["read"] == 2 and "| input" in printed.err
        figures = '{"epoch": 1, "update": 0.5, "loss": "9.1", "num_updates": "10"}'
        (tmp_path / "train.log").write_text(f"2026-01-01 | INFO | train_inner | {figures}\n")
        assert report(["--curves", str(tmp_path), "--out", "-"]) == 0
        printed = capfd.readouterr()
        assert printed.out.startswith("<!doctype html>") and "wrote -" in printed.err
        assert report(["--curves", str(tmp_path), "--json", "--out", "-"]) == 1
        assert "--json prints to standard output, too" in capfd.readouterr().err


class TestNobodyElses:
    def test_files_that_look_like_drafts(self, tmp_path: Path, texts: list[str]) -> None:
        names = ["figures.json.draft", ".figures.json.draft", "figures.json.tmp", "figures.json.1"]
        for name in names:
            (tmp_path / name).write_text("mine")
        assert score([*texts, "--json", str(tmp_path / "figures.json")]) == 0
        assert {(tmp_path / name).read_text() for name in names} == {"mine"}
        made = {path.name for path in tmp_path.iterdir()} - {"text.en", "text.de"}
        assert made == {*names, "figures.json"}

    def test_modes(self, tmp_path: Path) -> None:
        kept, new = tmp_path / "kept", tmp_path / "new"
        kept.write_text("old")
        kept.chmod(0o640)
        before = os.umask(0o027)
        try:
            put("text", kept, new)
        finally:
            os.umask(before)
        assert stat.S_IMODE(kept.stat().st_mode) == stat.S_IMODE(new.stat().st_mode) == 0o640
        kept.chmod(0o604)
        put("text", kept)
        assert stat.S_IMODE(kept.stat().st_mode) == 0o604

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write any file")
    def test_a_file_that_is_protected(self, tmp_path: Path) -> None:
        (tmp_path / "mine").write_text("old")
        (tmp_path / "mine").chmod(0o444)
        with pytest.raises(PermissionError, match="mine"):
            put("new", tmp_path / "mine")
        assert (tmp_path / "mine").read_text() == "old"

    def test_the_longest_name(self, tmp_path: Path) -> None:
        path = tmp_path / ("ü" * 127)
        put("new", path)
        assert path.read_text() == "new 0"

    def test_a_failure_leaves_all_as_it_was(self, tmp_path: Path) -> None:
        put("old", *(tmp_path / name for name in "ab"))
        with pytest.raises(RuntimeError), atomic_write([tmp_path / "a", tmp_path / "b"]) as files:
            files[0].write("half")
            raise RuntimeError
        assert [(tmp_path / name).read_text() for name in "ab"] == ["old 0", "old 1"]
        assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def _wait(folder: Path, name: str) -> None:
    """Write half of a file, and go on when the pipe ``name`` is read."""
    with atomic_write([folder / "file"]) as [file]:
        file.write(name)
        file.flush()
        (folder / name).write_text("")


def started(folder: Path, name: str) -> multiprocessing.Process:
    """A process that has written its draft, and waits."""
    os.mkfifo(folder / name)
    process = multiprocessing.get_context("fork").Process(target=_wait, args=(folder, name))
    process.start()
    return process


def unfinished(folder: Path) -> int:
    """The drafts that are there, once each has its text."""
    return sum(path.name.endswith(".draft") for path in folder.iterdir())


def test_drafts_of_the_killed_go_and_those_of_the_living_stay(tmp_path: Path, tally) -> None:
    dead, alive = started(tmp_path, "dead"), started(tmp_path, "alive")
    while sum(path.stat().st_size > 0 for path in tmp_path.glob(".file.*.draft")) < 2:
        time.sleep(0.01)
    os.kill(dead.pid, signal.SIGKILL)
    dead.join()
    assert unfinished(tmp_path) == 2
    put("mine", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine 0" and unfinished(tmp_path) == 1
    (tmp_path / "alive").read_text()
    alive.join()
    tally(faults=1)
    assert alive.exitcode == 0 and unfinished(tmp_path) == 0
    assert (tmp_path / "file").read_text() == "alive"


def _write_often(folder: Path, name: str) -> None:
    for _ in range(60):
        put(name, folder / "a", folder / "b")


def test_two_writers_of_two_files(tmp_path: Path, tally) -> None:
    """At the end both are of the same writer, and each is whole at any time."""
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        writers = [context.Process(target=_write_often, args=(tmp_path, name)) for name in "xyz"]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            if (tmp_path / "a").exists():
                assert (tmp_path / "a").read_text() in {"x 0", "y 0", "z 0"}
        assert [writer.exitcode for writer in writers] == [0, 0, 0]
        first, second = ((tmp_path / name).read_text() for name in "ab")
        tally(inputs=180, losses=int(first[0] != second[0]))
        assert first[0] == second[0] and sorted(os.listdir(tmp_path)) == ["a", "b"]


# What else in nmt_moe makes or renames files, and why it may.
OTHERS = {
    "common/files.py": "the one way itself",
    "fairseq_fixes/checkpoints.py": "fairseq's own names, by which parts of the killed are found",
    "checkpoint/parts.py": "the same",
    "corpus/download.py": "an archive that arrives over hours, and goes on growing",
    "corpus/transfer.py": "the same",
    "corpus/clean/duplicates.py": "in a folder that is removed",
    "corpus/clean/pipeline.py": "the same",
    "corpus/multilingual/mix.py": "the same",
    "corpus/wordpieces/model.py": "the same",
    "fairseq_fixes/watchdog.py": "a note from one process to another",
    "fairseq_fixes/batch_workers.py": "the same",
    "runs/commands.py": "a log, which grows while its command runs",
    "runs/claims/search/training.py": "the same",
    "runs/claims/opened.py": "a record, which only grows",
    "runs/folder.py": "a folder that is put away",
    "own_text/programs.py": "a log, which grows while its program runs",
    "own_text/stages.py": "a folder that is put away",
    "own_text/model.py": "a checkpoint that gets its name once it is whole",
    "trained/int8.py": "in a folder that is removed",
    "trained/packing.py": "a folder that gets its name once it is whole",
}


def test_nothing_else_writes_files() -> None:
    """A new writer goes through atomic_write, too."""
    found = set()
    for path in (ROOT / "nmt_moe").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and _writes(call):
                found.add(str(path.relative_to(ROOT / "nmt_moe")))
    assert found <= set(OTHERS), "write with nmt_moe.common.files, or say above why not"


def _writes(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    words = [one.value for one in [*call.args, *(k.value for k in call.keywords)]
             if isinstance(one, ast.Constant)]  # fmt: skip
    if name == "open" or name.endswith(".open"):
        return any(isinstance(word, str) and word[:1] in "wax" and word for word in words)
    renames = name.endswith((".replace", ".rename")) and len(call.args) == 1
    return renames or name.endswith((".write_text", ".write_bytes")) or name == "os.replace"
