"""A training takes fewer threads where other processes take the processors."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nmt_moe.fairseq_fixes import threads as threads_module
from nmt_moe.fairseq_fixes.threads import KEPT_BY, Threads
from tests.commands import BIN, PLUGIN, TINY, TRAINING

CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
pytestmark = pytest.mark.skipif(CORES < 2, reason="needs two processors, and /proc")
SAID = "other processes use"


@pytest.fixture
def threads() -> Iterator[Threads]:
    """Of a process with as many as there are processors."""
    before = torch.get_num_threads()
    torch.set_num_threads(CORES)
    yield Threads()
    torch.set_num_threads(before)


@pytest.fixture
def busy() -> Iterator[None]:
    """As many other processes as there are processors."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(CORES)]
    yield
    for other in others:
        other.kill()
        other.wait()


def test_a_number_follows_what_others_use_for_two_looks(threads: Threads) -> None:
    seen = []
    for others in [0.1, 1.0, 0.1, 1.0, 1.0, 0.2, 0.7, 0.2, 0.2, CORES, CORES]:
        threads.follow(others)
        seen.append(torch.get_num_threads())
    less = CORES - 1
    assert seen == [CORES] * 4 + [less] * 3 + [less, CORES] + [CORES, 1]


def test_busy_processes_are_noticed_within_a_step(threads: Threads, busy: None) -> None:
    threads.watch()
    until = time.monotonic() + 60
    while torch.get_num_threads() == CORES and time.monotonic() < until:
        torch.ones(300, 300) @ torch.ones(300, 300)
    assert torch.get_num_threads() < CORES


def test_a_users_own_number_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = []
    monkeypatch.setattr(Threads, "watch", lambda self: watched.append(self))
    monkeypatch.setattr(sys, "argv", ["fairseq-train"])
    for name in KEPT_BY:
        monkeypatch.delenv(name, raising=False)
    for own, begun in ((str(CORES), 0), ("", 1)):
        monkeypatch.setenv("OMP_NUM_THREADS", own)
        threads_module._watch.cache_clear()
        for fix in threads_module.FIXES:
            assert fix.wrap(lambda sample: sample + 1)(1) == 2
        assert len(watched) == begun


@pytest.mark.slow
def test_a_plain_training_notices(data: Path, tmp_path: Path, busy: None) -> None:
    options = [*TINY, *TRAINING, "--max-epoch", 100_000, "--no-save", "--disable-validation"]
    log = tmp_path / "log"
    with log.open("w") as output:
        training = subprocess.Popen(
            [*map(str, [BIN / "fairseq-train", data, "--user-dir", PLUGIN, *options])],
            env={name: value for name, value in os.environ.items() if name not in KEPT_BY},
            stdout=output,
            stderr=output,
        )
    until = time.monotonic() + 300
    while SAID not in log.read_text() and time.monotonic() < until:
        time.sleep(0.5)
    training.kill()
    training.wait()
    assert SAID in log.read_text()
