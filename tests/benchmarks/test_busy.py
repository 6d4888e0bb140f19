"""``benchmarks/busy.py``."""

import json

import pytest

from tests.benchmarks.commands import benchmark, load


@pytest.mark.slow
def test_it_measures_each_way_beside_other_processes(monkeypatch):
    for name, size in {"TRAIN_PAIRS": 1000, "VALID_PAIRS": 50, "VOCABULARY": 500}.items():
        monkeypatch.setenv(name, str(size))  # of the quickstart
    found = benchmark("busy.py", "--quick")
    assert found["figures"]["loads"] == [0, 1, 3, 0]
    assert list(found["figures"]["speeds"]) == [row[0] for row in found["rows"]]
    assert any(speed > 0 for speeds in found["figures"]["speeds"].values() for speed in speeds)


def test_what_it_starts_itself_is_no_disturbance(monkeypatch, tmp_path):
    busy = load(monkeypatch, "busy")
    monkeypatch.setattr(busy.subprocess, "run", lambda *_, **__: None)
    speeds = iter(range(1, 100))
    monkeypatch.setattr(busy, "measure", lambda *_: [next(speeds), 3.0, 2.0, 6.0])
    out = tmp_path / "busy.json"
    monkeypatch.setattr("sys.argv", ["busy.py", "--out", str(out), "--json"])
    monkeypatch.setattr(load(monkeypatch, "harness"), "commit", str)
    busy.main()
    found = json.loads(out.read_text())
    assert found["rounds"] == 5 and found["watch"]["during"] is None
    assert found["figures"]["speeds"]["recipe"] == [7.0, 3.0, 2.0, 6.0]  # of 1, 4, 7, 10, 13
    assert found["rows"] == busy.rows(found["figures"]["speeds"])


def test_its_table_is_that_of_the_measured_figures(monkeypatch):
    busy = load(monkeypatch, "busy")
    if not busy.OUT.exists():
        pytest.skip("benchmarks/busy.py has not measured yet")
    found = json.loads(busy.OUT.read_text())
    assert found["rows"] == busy.rows(found["figures"]["speeds"])
