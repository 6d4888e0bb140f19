"""Habits of fairseq's users with our models: the table in docs/compatibility.md."""

import sys

import pytest

from tests.fairseq.habits import HABITS, Habit, Tried, read_lstm

FOUND = ("shows", "hides", "files", "changes", "same", "refused")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    return Tried("ours", tmp_path_factory.mktemp("habits"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="commands are not forked")
@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: f"{habit.group}: {habit.words}")
def test_a_habit(ours: Tried, habit: Habit) -> None:
    verdict, output = ours.verdict(habit)
    assert verdict.startswith(habit.expected), f"{habit.run}\n{output}\n{verdict}"


def test_each_row_has_an_effect_to_see_and_was_tried_with_fairseqs_own() -> None:
    assert all(any(getattr(habit, name) for name in FOUND) for habit in HABITS)
    assert [habit.run for habit in HABITS] == [*read_lstm()], "python -m tests.fairseq.habits"
