"""Processes that the tests fork end even if nobody waits for them any more."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests import forks
from tests.parallel import command, processes
from tests.reliability.forked import apart


def hang() -> None:
    time.sleep(60)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "LIMIT", 2)  # longer than they need to meet


def test_a_training(short, tmp_path: Path) -> None:
    running = command.start(2, tmp_path, tmp_path / "run", prepare=lambda rank: hang())
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in running.processes]
    assert codes == [-signal.SIGALRM] * 2


def test_processes_that_talk(short, tmp_path: Path) -> None:
    with pytest.raises(
        AssertionError, match=rf"ended with \[-{signal.SIGALRM:d}, -{signal.SIGALRM:d}\]"
    ):
        processes.run_in(2, tmp_path, hang)


def test_a_command_of_fairseq(short, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=f"^ended with -{signal.SIGALRM:d}:"):
        apart(tmp_path / "log", hang, [])


def test_processes_that_are_late_are_killed(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "TIMEOUT", 1)
    with pytest.raises(AssertionError, match=r"processes \[0, 1\] still running after 1 s"):
        processes.run_in(2, tmp_path, hang)
