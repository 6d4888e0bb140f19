"""Trainings killed at any moment: the same command goes on, and ends as if nothing had been."""

import logging
import os
import random
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fairseq import checkpoint_utils
from fairseq_cli import train as fairseq_train

import nmt_moe  # noqa: F401 (so that --user-dir finds it imported)
from tests.commands import PLUGIN, TINY, TRAINING, Finished
from tests.parallel import command
from tests.reliability import kill
from tests.reliability.disk import in_a_child
from tests.reliability.test_terminated import PARTS, same, updates
from tests.tally import Tally

UPDATES = 60
# Saved often and under several names; noise and dropout, so that only equal draws give the same.
OPTIONS = [
    *("--max-update", UPDATES, "--save-interval-updates", 2, "--keep-interval-updates", 2),
    *("--dropout", 0.2, "--moe-hidden-dim", 256),
]


def train(
    data: Path, folder: Path, scratch: Path, prepare: Callable[[], None] = lambda: None
) -> Finished:
    """The training in a child that can be killed."""
    folder.mkdir(exist_ok=True)
    where = [data, "--user-dir", PLUGIN, "--save-dir", folder]
    arguments = list(map(str, [*where, *TINY, *TRAINING, *OPTIONS]))

    def main() -> None:
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, force=True)
        sys.argv = ["fairseq-train", *arguments]
        fairseq_train.cli_main()

    return in_a_child(main, scratch, prepare)


def killer(
    chance: random.Random, number: int, folder: Path, size: int
) -> tuple[Callable[[], None], int]:
    """A way to die, in turn: at a random time, before a change of a file, within a write."""
    if number % 3 == 0:
        return kill.after(chance.uniform(0.3, 1.5)), signal.SIGKILL
    if number % 3 == 1:
        return kill.at_change(folder, chance.randint(1, 20)), signal.SIGKILL
    return kill.within_a_write(chance.randrange(size)), signal.SIGXFSZ


@pytest.mark.slow
def test_one_process_killed_30_times(data: Path, tmp_path: Path, tally: Tally) -> None:
    chance = kill.fresh()
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    assert train(data, whole, tmp_path).code == 0
    last = folder / "checkpoint_last.pt"
    size = (whole / "checkpoint_last.pt").stat().st_size
    kills = at = half_written = 0
    while kills < 30:
        prepare, by = killer(chance, kills, folder, size)
        finished = train(data, folder, tmp_path, prepare)
        if at and "Start iterating" in finished.stdout:
            assert f"@ {at} updates" in finished.stdout, finished.stdout
        if finished.code == 0:  # done before it was killed
            assert same(last, whole / last.name)
            for path in folder.iterdir():
                path.unlink()
            at = 0
            continue
        assert finished.code == -by, finished.stdout + finished.stderr
        kills += 1
        tally(faults=1)
        half_written += len(list(folder.glob("*.tmp")))
        for path in folder.glob("*.pt"):
            checkpoint_utils.load_checkpoint_to_cpu(str(path))  # whole, or it is refused
        now = updates(last) if last.exists() else 0
        lost = now < at
        tally(losses=int(lost))
        assert not lost, f"{now} updates after the kill, {at} before"
        at = now
    assert half_written >= 5
    assert train(data, folder, tmp_path).code == 0
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}
    for path in folder.iterdir():
        lost = not same(path, whole / path.name)
        tally(losses=int(lost))
        assert not lost, path.name


@pytest.mark.slow
def test_one_of_two_processes_killed_while_parts_are_replaced(
    data: Path, tmp_path: Path, tally: Tally
) -> None:
    """One has put its new part in the place of the old one, the other one has not."""
    chance = kill.fresh()
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    options = [*PARTS, *OPTIONS]
    command.train(2, data, whole, *options)
    parts = [folder / f"checkpoint_last-rank-{rank}.pt" for rank in (0, 1)]
    kills = apart = at = 0
    while kills < 12:
        victim, number = chance.randrange(2), chance.randint(1, 12)

        def prepare(rank: int, victim: int = victim, number: int = number) -> None:
            if rank == victim:
                kill.at_rename(folder, number)()

        running = command.start(2, data, folder, *options, prepare=prepare)
        _, status = os.waitpid(running.processes[victim], 0)
        died = os.waitstatus_to_exitcode(status)
        running.processes.pop(victim)
        if died == 0:  # done before it was killed
            assert running.wait().code == 0, running.output.read_text()
            for path in folder.iterdir():
                path.unlink()
            at = 0
            continue
        assert died == -signal.SIGKILL, running.output.read_text()
        # The other one goes on with what it does alone, until it needs the one that is gone.
        running.wait()
        printed = running.output.read_text()
        kills += 1
        tally(faults=1)
        if at:
            loaded = re.search(r"Loaded checkpoint .* @ (\d+) updates", printed)
            assert loaded and int(loaded[1]) >= at, printed
        there = [updates(path) if path.exists() else 0 for path in parts]
        apart += there[0] != there[1]
        lost = max(there) < at
        tally(losses=int(lost))
        assert not lost
        at = max(there)
    assert apart >= 1, "no kill came between the two"
    finished = command.train(2, data, folder, *options)
    assert f"@ {at} updates" in finished.stdout
    for part in parts:
        lost = not same(part, whole / part.name)
        tally(losses=int(lost))
        assert not lost, part.name
