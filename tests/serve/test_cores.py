"""How many processes and threads a model has where nobody says it."""

import os
from pathlib import Path

import pytest

from nmt_moe.serve import cores


@pytest.mark.parametrize(
    ("named", "size", "device", "expected"),
    [
        ("1", 1000, None, (1, 1)),
        ("2", 1000, None, (2, 1)),
        ("8", 1000, None, (4, 2)),
        ("8", 2**33, None, (1, 8)),
        ("8", 1000, "cuda", (1, 8)),
        ("", 2**33, None, (1, 7)),
        ("", 1000, "cpu", (4, 1)),
    ],
)
def test_small_models_have_processes_and_large_ones_threads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
    size: int,
    device: str | None,
    expected: tuple[int, int],
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(Path, "exists", lambda path: False)
    if named:
        monkeypatch.setenv("OMP_NUM_THREADS", named)
    else:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with (tmp_path / "model.pt").open("w") as file:
        file.truncate(size)  # has no blocks
    for path in (tmp_path, tmp_path / "model.pt"):
        processes = cores.processes_of(str(path), device)
        assert (processes, cores.threads_of(processes)) == expected
    assert cores.processes_of(str(tmp_path / "none"), device) == 1
