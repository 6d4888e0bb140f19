"""Trainings killed at any moment: the same command goes on, and ends as if nothing had been."""

import os
import re
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from fairseq import checkpoint_utils

from tests.commands import PLUGIN, TINY, TRAINING, Finished
from tests.parallel import command
from tests.reliability import kill, stages
from tests.reliability.children import in_a_child, nothing
from tests.reliability.stages import trained, updates
from tests.reliability.test_terminated import PARTS
from tests.tally import Tally

UPDATES = 60
# Saved often and under several names; noise and dropout, so that only equal draws give the same.
OPTIONS = [
    *("--max-update", UPDATES, "--save-interval-updates", 2, "--keep-interval-updates", 2),
    *("--dropout", 0.2, "--moe-hidden-dim", 256),
]


def train(data: Path, folder: Path, prepare=nothing, seconds: float | None = None) -> Finished:
    """The training in a child that can be killed."""
    folder.mkdir(exist_ok=True)
    where = [data, "--user-dir", PLUGIN, "--save-dir", folder]
    arguments = list(map(str, [*where, *TINY, *TRAINING, *OPTIONS]))
    return in_a_child(partial(stages.train, arguments), folder.parent, prepare, seconds=seconds)


def all_trained(folder: Path) -> dict[str, dict]:
    return {path.name: trained(path) for path in folder.iterdir()}


def has_lost(folder: Path, want: dict[str, dict]) -> bool:
    """Whether anything wanted is missing or other, or more is there than one older checkpoint.

    fairseq removes it after all else of a save, and has no reason to when the last one is done.
    """
    found = all_trained(folder)
    more = [updates(folder / name) for name in found.keys() - want.keys()]
    older = not more or (len(more) == 1 and more[0] < UPDATES)
    return not older or any(found.get(name) != state for name, state in want.items())


@pytest.mark.slow
def test_one_process_killed_12_times(data: Path, tmp_path: Path, tally: Tally) -> None:
    """In turn at a random time, before a change of a file, within a write, and within a copy."""
    chance = kill.fresh()
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    start = time.monotonic()
    done = train(data, whole)
    assert done.code == 0, done.stderr
    seconds = time.monotonic() - start
    want = all_trained(whole)
    least, most = len(done.stdout), (whole / "checkpoint_last.pt").stat().st_size
    assert least < most / 2  # or it would die in writing its log
    last = folder / "checkpoint_last.pt"
    kills = at = half_written = 0
    while kills < 12:
        prepare, by, after = nothing, signal.SIGKILL, None
        if kills % 4 == 0:
            after = chance.uniform(0.1, 1) * seconds
        elif kills % 4 == 1:
            prepare = kill.at_change(folder, chance.randint(1, 20))
        else:
            within = kill.within_a_write if kills % 4 == 2 else kill.within_a_copy
            prepare, by = within(chance.randrange(least, most)), signal.SIGXFSZ
        finished = train(data, folder, prepare, after)
        if at and "Start iterating" in finished.stdout:
            assert f"@ {at} updates" in finished.stdout, finished.stdout
        if finished.code == 0:  # done before it was killed
            lost = has_lost(folder, want)
            tally(losses=int(lost))
            assert not lost
            for path in folder.iterdir():
                path.unlink()
            at = 0
            continue
        assert finished.code == -by, finished.stdout + finished.stderr
        kills += 1
        tally(faults=1)
        half_written += by == signal.SIGXFSZ and bool(list(folder.glob("*.tmp")))
        for path in folder.glob("*.pt"):
            checkpoint_utils.load_checkpoint_to_cpu(str(path))  # whole, or it is refused
        now = updates(last) if last.exists() else 0
        lost = now < at
        tally(losses=int(lost))
        assert not lost, f"{now} updates after the kill, {at} before"
        at = now
    assert half_written >= 1
    for _ in range(2):  # when all is done, there is nothing to do
        assert train(data, folder).code == 0
        lost = has_lost(folder, want)
        tally(losses=int(lost))
        assert not lost


@pytest.mark.slow
def test_one_of_two_processes_killed_while_parts_are_replaced(
    data: Path, tmp_path: Path, tally: Tally
) -> None:
    """One has put its new part in the place of the old one, the other one has not."""
    chance = kill.fresh()
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    options = [*PARTS, *OPTIONS]
    command.train(2, data, whole, *options)
    names = [f"checkpoint_last-rank-{rank}.pt" for rank in (0, 1)]
    kills = apart = at = 0
    while kills < 6 or not apart:
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
            # It may have been killed while it put new parts in place, before it loads them.
            began = loaded or "Start iterating" in printed
            assert not began or (loaded and int(loaded[1]) >= at), printed
        there = [updates(folder / name) if (folder / name).exists() else 0 for name in names]
        apart += there[0] != there[1]
        lost = max(there) < at
        tally(losses=int(lost))
        assert not lost
        at = max(there)
    finished = command.train(2, data, folder, *options)
    assert f"@ {at} updates" in finished.stdout
    for name in names:
        lost = trained(folder / name) != trained(whole / name)
        tally(losses=int(lost))
        assert not lost, name
