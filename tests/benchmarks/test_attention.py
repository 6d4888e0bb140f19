"""``benchmarks/attention.py``."""

import json

from tests.benchmarks.commands import load


def test_the_readme_has_the_table_of_its_results(monkeypatch) -> None:
    attention = load(monkeypatch, "attention")
    found = json.loads(attention.OUT.read_text())
    assert attention.table(found["runs"]) in (attention.ROOT / "README.md").read_text()
