"""A training takes fewer threads where other processes take the processors."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nmt_moe.threads import KEPT_BY, Threads
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


def test_busy_processes_are_noticed(threads: Threads, busy: None) -> None:
    until = time.monotonic() + 60
    while torch.get_num_threads() == CORES and time.monotonic() < until:
        torch.ones(300, 300) @ torch.ones(300, 300)
        threads.adapt()
    assert torch.get_num_threads() < CORES


@pytest.mark.slow
def test_a_plain_training_notices(data: Path, tmp_path: Path, busy: None) -> None:
    """Unless the user has said how many threads it has."""
    found = {}
    for kept in ("", str(CORES)):
        options = [*TINY, *TRAINING, "--max-epoch", 100_000, "--no-save", "--disable-validation"]
        environment = {name: value for name, value in os.environ.items() if name not in KEPT_BY}
        environment |= {"CUDA_VISIBLE_DEVICES": ""} | ({KEPT_BY[0]: kept} if kept else {})
        training = subprocess.Popen(
            [*map(str, [BIN / "fairseq-train", data, "--user-dir", PLUGIN, *options])],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            cwd=tmp_path,
        )
        assert training.stdout is not None
        began, found[kept] = None, False
        for line in training.stdout:
            if "train_inner" in line and began is None:
                began = time.monotonic()
            found[kept] |= SAID in line
            if found[kept] or (began and time.monotonic() - began > (60 if not kept else 5)):
                break
        training.kill()
        training.communicate()
    assert found == {"": True, str(CORES): False}
