"""Run a benchmark as a user does."""

import json
from pathlib import Path
from typing import Any

from tests.commands import run

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def benchmark(name: str, *arguments: object) -> dict[str, Any]:
    """The figures that it prints with ``--json``."""
    return json.loads(run("python", BENCHMARKS / name, *arguments, "--json").stdout)
