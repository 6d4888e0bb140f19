"""The rows of docs/compatibility.md that are about training."""

import sys

import pytest

from tests.fairseq.habits import HABITS, TRAINING, Habit, Tried

ROWS = [habit for habit in HABITS if habit.group in TRAINING]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="commands are not forked")
@pytest.mark.parametrize("habit", ROWS, ids=lambda habit: f"{habit.group}: {habit.words}")
def test_a_habit(ours: Tried, habit: Habit) -> None:
    verdict, output = ours.verdict(habit)
    assert verdict.startswith(habit.expected), f"{habit.run}\n{output}\n{verdict}"
