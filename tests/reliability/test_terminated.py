"""SIGTERM: a training finishes its update, saves, ends with 75, and goes on as if nothing was."""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt_moe.fairseq_fixes.sigterm import EXIT_CODE
from tests.parallel import command
from tests.recipes import ROOT, environment
from tests.tally import Tally
from tests.test_launch import SRUN, arguments, free_port
from tests.test_training import flat

UPDATES = 60
# 10 updates an epoch of one process; noise and dropout, so that only equal draws give the same.
OPTIONS = ["--max-update", UPDATES, "--dropout", 0.2, "--moe-hidden-dim", 512]
PARTS = ["--optimizer", "moe_adam", "--moe-sharded-checkpoint", "--batch-size", 10]


def same(one: Path, other: Path) -> bool:
    """Whether weights, the optimizer's state and the best loss are equal."""
    got, want = (torch.load(path, weights_only=True) for path in (one, other))
    if got["extra_state"]["best"] != want["extra_state"]["best"]:
        return False
    for part in ("model", "last_optimizer_state"):
        got_leaves, want_leaves = flat(got[part]), flat(want[part])
        if got_leaves.keys() != want_leaves.keys():
            return False
        for name, leaf in want_leaves.items():
            equal = torch.equal if torch.is_tensor(leaf) else type(leaf).__eq__
            if not equal(got_leaves[name], leaf):
                return False
    return True


def updates(path: Path) -> int:
    return torch.load(path, weights_only=True)["optimizer_history"][-1]["num_updates"]


def wait_for(running: command.Running, what: Callable[[], Any]) -> None:
    end = time.monotonic() + 200
    while not what():
        assert time.monotonic() < end and os.waitpid(running.processes[0], os.WNOHANG) == (0, 0)
        time.sleep(0.001)


def listens(process: int) -> bool:
    """Whether SIGTERM has a handler in it."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def stop_again_and_again(
    start: Callable[..., command.Running],
    stop: Callable[[command.Running], None],
    last: Path,
    times: int,
    tally: Tally,
) -> None:
    """Start and stop a training so many times, or until it is done, and then let it end."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    before = 0
    for number in range(times + 1):
        running = start()
        if number < times:
            wait_for(running, lambda: all(map(listens, running.processes)))  # noqa: B023
            wait_for(running, lambda: "Start iterating" in running.output.read_text())  # noqa: B023
            time.sleep(chance.random() / 4)
            stop(running)
        finished = running.wait()
        done = finished.code == 0 and number >= 2  # on a busy machine perhaps before it was told
        assert done or (finished.code == EXIT_CODE and number < times), finished.stdout
        assert "Traceback" not in finished.stdout, finished.stdout
        if before:
            assert f"@ {before} updates" in finished.stdout, finished.stdout
        now = updates(last)
        assert before < now
        before = now
        if done:
            break
        assert f"stopped by SIGTERM: saved after update {now:,}, the same" in finished.stdout
        tally(faults=1)
    assert before == UPDATES


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "batch"), [(0, 20), (2, 1), (2, 20)])
def test_one_process(data: Path, tmp_path: Path, tally: Tally, workers: int, batch: int) -> None:
    """With workers the whole group gets the signal, also the processes that make batches: in the
    middle of an epoch, or, with 10 updates in each, where some of them end and others begin."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    options = [*OPTIONS, "--num-workers", workers, "--batch-size", batch]
    command.train(1, data, whole, *options)

    def stop(running: command.Running) -> None:
        (os.killpg if workers else os.kill)(running.processes[0], signal.SIGTERM)

    stop_again_and_again(
        lambda: command.start(1, data, stopped, *options),
        stop,
        stopped / "checkpoint_last.pt",
        2 if workers else 3,
        tally,
    )
    for name in ("checkpoint_last.pt", "checkpoint_best.pt"):
        lost = not same(stopped / name, whole / name)
        tally(losses=int(lost))
        assert not lost, name
    assert {path.name for path in stopped.iterdir()} == {path.name for path in whole.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("parts", [False, True])
def test_two_processes_of_which_one_is_told(
    data: Path, tmp_path: Path, tally: Tally, parts: bool
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    options = [*OPTIONS, *(PARTS if parts else [*PARTS[:2], "--batch-size", 10])]
    command.train(2, data, whole, *options)
    files = [
        f"checkpoint_last{suffix}.pt" for suffix in (["-rank-0", "-rank-1"] if parts else [""])
    ]
    stop_again_and_again(
        lambda: command.start(2, data, stopped, *options),
        lambda running: os.kill(running.processes[1], signal.SIGTERM),
        stopped / files[0],
        2,
        tally,
    )
    for name in files:
        lost = not same(stopped / name, whole / name)
        tally(losses=int(lost))
        assert not lost, name


@pytest.mark.slow
def test_while_it_saves_it_saves_once(data: Path, tmp_path: Path, tally: Tally) -> None:
    options = ["--save-interval-updates", 1, "--max-update", 10_000, "--moe-hidden-dim", 4096]
    running = command.start(1, data, tmp_path, *options, "--disable-validation")
    wait_for(running, lambda: list(tmp_path.glob("*.tmp")) and list(tmp_path.glob("*_last.pt")))
    os.kill(running.processes[0], signal.SIGTERM)
    finished = running.wait()
    assert finished.code == EXIT_CODE, finished.stdout
    at = updates(tmp_path / "checkpoint_last.pt")
    assert finished.stdout.count(f"@ {at} updates, score") == 1, finished.stdout
    tally(faults=1)


@pytest.mark.slow
def test_what_could_not_be_saved_is_no_success(data: Path, tmp_path: Path, tally: Tally) -> None:
    """It would be put into the queue again and again."""
    (tmp_path / "checkpoint_last.pt.tmp").mkdir()  # in its way
    options = ["--max-update", 10_000, "--max-epoch", 10_000, "--save-interval", 10_000]
    running = command.start(1, data, tmp_path, *options)
    wait_for(running, lambda: "Start iterating" in running.output.read_text())
    os.kill(running.processes[0], signal.SIGTERM)
    finished = running.wait()
    assert finished.code == 1, finished.stdout  # neither 0, nor EXIT_CODE, nor the signal's
    tally(faults=1)


def launched(script: str, data: Path, folder: Path, log: Path, **settings: object):
    """A recipe in the background, when its training has begun."""
    options = [*arguments(data, folder), "--max-update", "100000", "--max-epoch", "100000"]
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(ROOT / "recipes" / script), "fairseq-train", *options],
            cwd=ROOT,
            env=environment(**settings),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    end = time.monotonic() + 300
    while "train_inner" not in log.read_text():
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.1)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("group", [False, True])
def test_the_launcher_tells_that_it_was_stopped(
    data: Path, tmp_path: Path, tally: Tally, group: bool
) -> None:
    log = tmp_path / "log"
    process = launched("launch.sh", data, tmp_path / "saved", log, GPUS=2)
    (os.killpg if group else os.kill)(process.pid, signal.SIGTERM)
    assert process.wait(200) == EXIT_CODE, log.read_text()
    printed = log.read_text()
    at = updates(tmp_path / "saved/checkpoint_last.pt")
    assert f"saved after update {at:,}, the same command" in printed
    assert "death signal" not in printed  # torchrun's, which waits for 30 seconds only
    saved = re.findall(r"Saved checkpoint .* @ (\d+) updates", printed)
    assert len(set(saved)) == len(saved)  # by the first process alone, and once
    tally(faults=1)


@pytest.mark.slow
@pytest.mark.parametrize("told", [True, False])
def test_slurm_puts_it_into_the_queue_again(
    data: Path, tmp_path: Path, tally: Tally, told: bool
) -> None:
    """Only if it was stopped and has saved, not if it failed; stand-ins for SLURM's commands."""
    scontrol = f'#!/bin/bash\n[[ $1 == show ]] && echo localhost || echo "$@" >>{tmp_path}/asked\n'
    for name, text in {
        "srun": SRUN.replace('SLURM_NODEID=1 "$@"', "true"),
        "scontrol": scontrol,
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_JOB_NODELIST": "localhost", "SLURM_JOB_NUM_NODES": 1, "SLURM_JOB_ID": 7}
    job |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GPUS": 1, "MASTER_PORT": free_port()}
    log = tmp_path / "log"
    process = launched("launch.sbatch", data, tmp_path / "saved", log, **job)
    # As SLURM does: every process of the step, the batch file's own is not one of them.
    find = ["pgrep", "-s", str(process.pid), "-f", "launch|torchrun"]
    step = [int(line) for line in subprocess.run(find, capture_output=True).stdout.split()]
    torchrun = [pid for pid in step if b"torchrun.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(torchrun) == 1
    os.kill(torchrun[0], signal.SIGTERM if told else signal.SIGINT)
    code = process.wait(200)
    asked = tmp_path / "asked"
    if told:
        assert code == 0 and asked.read_text() == "requeue 7\n", log.read_text()
        assert updates(tmp_path / "saved/checkpoint_last.pt") > 0
    else:
        assert code not in (0, EXIT_CODE) and not asked.exists(), log.read_text()
    tally(faults=1)


@pytest.mark.slow
def test_the_launcher_passes_on_a_second_sigterm(data: Path, tmp_path: Path, tally: Tally) -> None:
    """Where the training cannot finish its update: one of its processes is halted."""
    log = tmp_path / "log"
    process = launched("launch.sh", data, tmp_path / "saved", log, GPUS=2)
    find = ["pgrep", "-P", str(process.pid)]
    first, second = (int(pid) for pid in subprocess.run(find, capture_output=True).stdout.split())
    os.kill(second, signal.SIGSTOP)
    time.sleep(1)
    for _ in range(2):
        os.kill(process.pid, signal.SIGTERM)
        time.sleep(1)
    os.kill(second, signal.SIGCONT)  # or torchrun kills it half a minute later
    assert process.wait(200) == 128 + signal.SIGTERM, log.read_text()
    assert log.read_text().count("a second SIGTERM: ended at once; ") == 1
    assert not Path(f"/proc/{first}").exists() and not Path(f"/proc/{second}").exists()
    tally(faults=1)
