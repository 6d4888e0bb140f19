"""Run a benchmark as a user does."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.commands import run

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def benchmark(name: str, *arguments: object, fresh: bool = False) -> dict[str, Any]:
    """The figures that it prints with ``--json``."""
    finished = run("python", BENCHMARKS / name, *arguments, "--json", fresh=fresh)
    return json.loads(finished.stdout)


def load(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    """The benchmark's module, whose folder is the path of its own imports."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return importlib.import_module(name)
