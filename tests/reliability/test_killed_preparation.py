"""Preparation killed at any moment: the same command then writes what it would have written."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.reliability import kill
from tests.reliability.stages import STAGES, contents
from tests.tally import Tally

PREPARATION = ["phrasebook", "multi30k", "monolingual", "clean", "wordpieces train",
               "wordpieces encode", "preprocess", "merge", "curves"]  # fmt: skip
QUICK = ["wordpieces train", "wordpieces encode", "preprocess"]
WHOLE = [name for name, stage in STAGES.items() if stage.whole and stage.again]


class Attempts:
    """Of one command, killed again and again, beside what it writes undisturbed."""

    def __init__(self, name: str, text: Path, folder: Path, chance: random.Random) -> None:
        self.stage, self.text, self.scratch, self.chance = STAGES[name], text, folder, chance
        self.out = folder / "out"
        whole = folder / "whole"
        start = time.monotonic()
        self.finish(whole, kill.at_change(whole))
        self.seconds = time.monotonic() - start
        self.changes = kill.changes(whole)
        self.want = contents(whole)
        self.largest = max(len(content) for content in self.want.values())

    def finish(self, out: Path, *prepare) -> None:
        finished = self.stage.run(self.text, out, self.scratch, *prepare)
        assert finished.code == 0, finished

    def kill(self, way: int, tally: Tally) -> bool:
        """Kill it in one of three ways; False if it was done before.

        What has its name is complete, apart from what fairseq-preprocess writes.
        """
        by, seconds = signal.SIGKILL, None
        prepare = kill.at_change(self.out, self.chance.randint(1, self.changes))
        if way == 1:
            prepare = kill.at_change(self.out)
            seconds = self.chance.uniform(0, self.seconds)
        elif way == 2 and self.stage.whole:  # else another process of it might die alone
            prepare, by = kill.within_a_write(self.chance.randrange(self.largest)), signal.SIGXFSZ
        finished = self.stage.run(self.text, self.out, self.scratch, prepare, seconds)
        if finished.code == 0:
            self.check(tally)
            return False
        assert finished.code == -by, finished
        tally(faults=1)
        if self.stage.whole:
            for name, content in contents(self.out).items():
                lost = name in self.want and content != self.want[name]
                tally(losses=int(lost))
                assert not lost, name
        return True

    def check(self, tally: Tally) -> None:
        """Whether all is there, and nothing else; the next attempt starts anew."""
        lost = contents(self.out) != self.want
        tally(losses=int(lost))
        assert not lost
        shutil.rmtree(self.out)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PREPARATION],
)
def test_killed_in_each_way(name: str, text: Path, tmp_path: Path, tally: Tally) -> None:
    attempts = Attempts(name, text, tmp_path, kill.fresh())
    assert attempts.changes >= 1
    for way in (0, 1, 2):
        while not attempts.kill(way, tally):
            pass
    attempts.finish(attempts.out)
    attempts.check(tally)


@pytest.mark.parametrize("name", WHOLE)
def test_what_has_its_name_is_never_written_to(
    name: str, text: Path, tmp_path: Path, tally: Tally
) -> None:
    """Else a kill, or who reads it then, could meet half of it: a complete file takes the name."""
    out, stage = tmp_path / "out", STAGES[name]
    assert stage.run(text, out, tmp_path).code == 0
    old = [tmp_path / f"before.{number}" for number in range(len(contents(out)))]
    new = [out / path for path in contents(out)]
    for path, also in zip(new, old, strict=True):
        path.write_bytes(b"before")
        os.link(path, also)
    assert stage.run(text, out, tmp_path).code == 0
    assert new and all(path.read_bytes() != b"before" for path in new)
    lost = sum(path.read_bytes() != b"before" for path in old)
    tally(inputs=len(new), losses=lost)
    assert not lost


@pytest.mark.slow
@pytest.mark.parametrize("name", PREPARATION)
def test_killed_at_each_change(name: str, text: Path, tmp_path: Path, tally: Tally) -> None:
    """A new try after every third kill; the others meet what an earlier one has left."""
    attempts = Attempts(name, text, tmp_path, kill.fresh())
    numbers = range(1, attempts.changes + 1)
    for count, number in enumerate(attempts.chance.sample(numbers, min(12, len(numbers))), 1):
        prepare = kill.at_change(attempts.out, number)
        finished = attempts.stage.run(text, attempts.out, tmp_path, prepare)
        if finished.code != 0:  # there may be less to do than the first time
            assert finished.code == -signal.SIGKILL, finished
            tally(faults=1)
        if count % 3 == 0:
            attempts.finish(attempts.out)
            attempts.check(tally)
    attempts.finish(attempts.out)
    attempts.check(tally)
