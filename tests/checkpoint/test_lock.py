"""One training at a time in a folder."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from nmt_moe.checkpoint import lock
from nmt_moe.common.errors import UserError
from tests.commands import BIN, PLUGIN, TINY, TRAINING, train


def holding(folder: Path) -> tuple[int, int]:
    """Processes with the lock and without it: a training, and one of its data workers."""
    ready, told = os.pipe()
    training = os.fork()
    if not training:
        lock.hold(str(folder))
        worker = os.fork()
        os.write(told, f"{worker or os.getpid()} ".encode())
        time.sleep(60)
        os._exit(0)
    numbers = ""
    while numbers.count(" ") < 2:
        numbers += os.read(ready, 100).decode()
    [worker] = {int(number) for number in numbers.split()} - {training}
    return training, worker


def test_the_lock_ends_with_its_training_though_a_worker_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_ENDING", 0)
    training, worker = holding(tmp_path)
    try:
        for _ in range(2):
            with pytest.raises(UserError, match=f"another training .* into {tmp_path}: wait"):
                lock.hold(str(tmp_path))
        os.kill(training, signal.SIGKILL)
        os.waitpid(training, 0)
        os.kill(worker, 0)  # lives
        monkeypatch.setattr(lock, "_ENDING", 5)
        lock.hold(str(tmp_path))
        lock.hold(str(tmp_path / "." / "."))  # its own
    finally:
        os.kill(worker, signal.SIGKILL)
        lock._let_go()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_second_training_is_refused_until_the_first_is_killed(data, tmp_path):
    options = [*TINY, *TRAINING, "--num-workers", "2", "--save-interval-updates", "10"]
    command = [BIN / "fairseq-train", data, "--user-dir", PLUGIN, "--save-dir", tmp_path, *options]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as first:
        try:
            for line in first.stdout:
                if "Saved checkpoint" in line:
                    break
            refused = train(data, tmp_path, "--max-update", 20, fails=True)
            assert refused.error().startswith(
                f"another training writes its checkpoints into {tmp_path}"
            )
            train(data, tmp_path, "--max-update", 1, "--no-save")
        finally:
            first.kill()
    finished = train(data, tmp_path, "--max-epoch", 1, "--reset-dataloader")
    assert "Loaded checkpoint" in finished.stdout
    assert {path.suffix for path in tmp_path.iterdir()} <= {".pt", ".tmp"}
