"""``benchmarks/attention.py``."""

import json

from tests.benchmarks.commands import load


def test_its_table_is_that_of_its_trainings(monkeypatch) -> None:
    attention = load(monkeypatch, "attention")
    found = json.loads(attention.OUT.read_text())
    assert found["heads"] == attention.HEADS
    assert found["rows"] == attention.rows(found["runs"])
