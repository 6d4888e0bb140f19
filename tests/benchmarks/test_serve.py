"""``benchmarks/serve.py``."""

from pathlib import Path

import pytest

from tests.benchmarks.commands import benchmark
from tests.report.experts import sentences, write_checkpoint


@pytest.mark.slow
def test_users_get_what_the_command_writes(tmp_path: Path) -> None:
    model, text = write_checkpoint(tmp_path), tmp_path / "text"
    text.write_text("".join(f"{line}\n" for line in sentences(30)))
    options = ["--model", model, "--text", text, "--languages", "en", "xx", "--processes", 1]
    figures = benchmark("serve.py", "--quick", *options)["figures"]
    found = figures["servers"]["1 process"]
    assert found["wrong"] == 0
    assert 0 < found["p50"] <= found["p95"] and found["per_second"] > 0
    assert min(found["memory"]) > 2**26
