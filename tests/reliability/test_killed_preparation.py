"""Preparation killed at any moment: the same command then writes what it would have written."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.reliability import kill
from tests.reliability.disk import in_a_child
from tests.reliability.test_disk_full import STAGES, contents, preprocess, text  # noqa: F401
from tests.tally import Tally

PREPARATION = ["phrasebook", "multi30k", "monolingual", "clean", "wordpieces train",
               "wordpieces encode", "preprocess", "merge", "curves"]  # fmt: skip


class Stage:
    """One command, and what it writes undisturbed."""

    def __init__(self, name: str, text: Path, folder: Path) -> None:  # noqa: F811
        self.main, self.line = STAGES[name]
        self.text, self.folder = text, folder
        self.out = folder / "out"
        whole = folder / "whole"
        counter = folder / "changes"
        assert self.run(whole, kill.counting(whole, counter)).code == 0
        self.changes = counter.stat().st_size
        self.want = contents(whole)

    def run(self, out: Path, prepare: Any = lambda: None) -> Any:
        out.mkdir(exist_ok=True)
        words = [word.format(t=self.text, o=out) for word in self.line.split()]
        return in_a_child(lambda: self.main(words), self.folder, prepare)

    def killed(self, prepare: Any, by: int = signal.SIGKILL) -> None:
        """Kill it; what has its name is complete, apart from what fairseq-preprocess writes."""
        finished = self.run(self.out, prepare)
        assert finished.code == -by, finished
        if self.main is not preprocess:
            for name, content in contents(self.out).items():
                assert name not in self.want or content == self.want[name], name

    def goes_on(self, tally: Tally) -> None:
        finished = self.run(self.out)
        assert finished.code == 0, finished.stderr
        lost = contents(self.out) != self.want
        tally(losses=int(lost))
        assert not lost


@pytest.mark.parametrize("name", PREPARATION)
def test_killed_at_random_changes(name: str, text: Path, tmp_path: Path, tally: Tally) -> None:  # noqa: F811
    """When it opens, renames or removes a file, within a write, and again in the next try."""
    chance = kill.fresh()
    stage = Stage(name, text, tmp_path)
    assert stage.changes >= 2
    largest = max(map(len, stage.want.values()))
    for _ in range(2):
        stage.killed(kill.at_change(stage.out, chance.randint(1, stage.changes)))
        tally(faults=1)
        if stage.main is not preprocess:  # which has a process of its own that would die alone
            stage.killed(kill.within_a_write(chance.randrange(largest)), signal.SIGXFSZ)
            tally(faults=1)
    stage.goes_on(tally)


@pytest.mark.slow
@pytest.mark.parametrize("name", PREPARATION)
def test_killed_at_every_change(name: str, text: Path, tmp_path: Path, tally: Tally) -> None:  # noqa: F811
    chance = kill.fresh()
    stage = Stage(name, text, tmp_path)
    numbers = range(1, stage.changes + 1)
    for number in chance.sample(numbers, min(12, len(numbers))):
        stage.killed(kill.at_change(stage.out, number))
        tally(faults=1)
        if number % 3 == 0:  # else the next kill meets what this one has left
            stage.goes_on(tally)
    stage.goes_on(tally)
