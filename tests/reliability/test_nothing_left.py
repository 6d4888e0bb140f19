"""After Ctrl-C and SIGTERM: no process, no temporary file, and no half of a file is left."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nmt_moe.checkpoint import files
from nmt_moe.fairseq_fixes import checkpoints as hooks
from tests.commands import BIN, PLUGIN, TINY, TRAINING
from tests.parallel.command import TIMEOUT
from tests.reliability import stages
from tests.reliability.processes import of_session
from tests.test_translate import learned, prepared

slow = pytest.mark.slow
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Also where the tests run in the background of a shell, which lets them ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


_started: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """Nothing runs on where a test fails."""
    yield
    while _started:
        process = _started.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def start(folder: Path, *command: object) -> subprocess.Popen[str]:
    """A command with a folder of its own for temporary files, leading a session."""
    (folder / "temporary").mkdir()
    own = {
        "TMPDIR": str(folder / "temporary"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache"),  # of torch, for all programs: it stays
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    process = subprocess.Popen(
        [*map(str, command)],
        env=os.environ | own,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    )
    _started.append(process)
    return process


def wait_for(process: subprocess.Popen[str], processes: int) -> None:
    until = time.monotonic() + TIMEOUT
    while len(of_session(process.pid)) < processes:
        assert time.monotonic() < until
        time.sleep(0.02)


def end(process: subprocess.Popen[str], number: int, whole_group: bool) -> str:
    """Send the signal, as a terminal does or as ``kill`` does; what the command still says."""
    (os.killpg if whole_group else os.kill)(process.pid, number)
    said = process.communicate(timeout=TIMEOUT)[0]
    assert process.returncode != 0, said
    return said


def check_nothing_left(process: subprocess.Popen[str], folder: Path, kept: set[str]) -> None:
    until = time.monotonic() + TIMEOUT  # workers look every few seconds for their parent
    while of_session(process.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not of_session(process.pid)
    assert not list((folder / "temporary").iterdir())
    assert {path.name for path in (folder / "out").iterdir()} <= kept


class Interrupts:
    """Pressing Ctrl-C while it is saved."""

    def __reduce__(self) -> tuple:
        os.kill(os.getpid(), signal.SIGINT)
        return str, ()


def test_ctrl_c_within_a_save(tmp_path, tally):
    torch.serialization.add_safe_globals([Interrupts])  # or it would be refused before
    path = tmp_path / "checkpoint_last.pt.tmp"
    with path.open("wb") as file, pytest.raises(KeyboardInterrupt):
        files.write({"model": Interrupts()}, file)
    tally(faults=1)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_within_a_copy(tmp_path, tally):
    best, last = tmp_path / "checkpoint_best.pt", tmp_path / "checkpoint_last.pt"
    best.write_bytes(b"new")
    last.write_bytes(b"old")

    def interrupted(source: str, target: str, overwrite: bool) -> None:
        Path(target).write_bytes(b"n")
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        hooks._copy_whole(interrupted)(str(best), str(last))
    tally(faults=1)
    assert sorted(tmp_path.iterdir()) == [best, last] and last.read_bytes() == b"old"


@slow
@pytest.mark.parametrize("whole_group", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_training(data, tmp_path, tally, number, whole_group):
    # Epochs of 200 batches: their workers run for most of the time.
    options = ["--num-workers", "2", "--batch-size", "1", "--save-interval-updates", "40"]
    where = [data, "--user-dir", PLUGIN, "--save-dir", tmp_path / "out"]
    training = start(tmp_path, BIN / "fairseq-train", *where, *TINY, *TRAINING, *options)
    saved = ""
    for saved in training.stdout:
        if "Saved checkpoint" in saved:
            break
    wait_for(training, processes=2)  # so that there is something to leave
    said = saved + end(training, number, whole_group)
    whole = {path.name for path in (tmp_path / "out").glob("*.pt")}
    updates = max(map(int, re.findall(r"Saved checkpoint .*@ (\d+) updates", said)))
    lost = updates - stages.updates(tmp_path / "out" / "checkpoint_last.pt")
    tally(faults=1, work=updates, losses=max(0, lost))
    assert "checkpoint_last.pt" in whole
    check_nothing_left(training, tmp_path, kept=whole)


@slow
@pytest.mark.parametrize("whole_group", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_cleaning_a_corpus(tmp_path, tally, number, whole_group):
    chance = random.Random(0)
    for language in ("en", "de"):
        with (tmp_path / f"text.{language}").open("w") as file:
            for _ in range(200_000):
                file.write(" ".join(f"{language}{chance.randrange(999)}" for _ in range(8)) + "\n")
        os.mkfifo(tmp_path / f"more.{language}")  # nobody writes: it is never done
    (tmp_path / "out").mkdir()
    inputs = [tmp_path / "text", tmp_path / "more"]
    options = ["--langs", "en", "de", "--out", tmp_path / "out" / "clean", "--workers", "2"]
    command = [sys.executable, "-m", "nmt_moe.corpus.clean", *inputs, *options]
    cleaning = start(tmp_path, *command)
    wait_for(cleaning, processes=3)
    said = end(cleaning, number, whole_group)
    tally(faults=1)
    assert said.splitlines()[-1] == "error: interrupted: nothing was written", said
    check_nothing_left(cleaning, tmp_path, kept=set())


@slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_translation(tmp_path, tally, number):
    """Ends at once, as filters do, also while it waits for a line."""
    checkpoint = learned(prepared(tmp_path), "--max-update", 20)
    (tmp_path / "out").mkdir()
    options = ["--device", "cpu", "--buffer-lines", 1]
    command = [sys.executable, "-m", "nmt_moe.translate", checkpoint, *options]
    translation = start(tmp_path, *command)
    translation.stdin.write("Red cat.\n")
    translation.stdin.flush()
    answer = translation.stdout.readline()
    end(translation, number, whole_group=True)
    tally(faults=1, work=1, losses=int(not answer.strip()))
    check_nothing_left(translation, tmp_path, kept=set())
