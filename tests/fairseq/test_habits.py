"""The rows of docs/compatibility.md that are not about training, and what holds for all."""

import sys

import pytest

from tests.fairseq.habits import HABITS, TRAINING, Habit, Tried, read_lstm

FOUND = ("shows", "hides", "files", "changes", "same", "refused")
ROWS = [habit for habit in HABITS if habit.group not in TRAINING]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="commands are not forked")
@pytest.mark.parametrize("habit", ROWS, ids=lambda habit: f"{habit.group}: {habit.words}")
def test_a_habit(ours: Tried, habit: Habit) -> None:
    verdict, output = ours.verdict(habit)
    assert verdict.startswith(habit.expected), f"{habit.run}\n{output}\n{verdict}"


def test_each_row_has_an_effect_to_see_and_was_tried_with_fairseqs_own() -> None:
    assert all(any(getattr(habit, name) for name in FOUND) for habit in HABITS)
    assert {habit.group for habit in HABITS} > {*TRAINING}
    assert [habit.run for habit in HABITS] == [*read_lstm()], "python -m tests.fairseq.habits"
