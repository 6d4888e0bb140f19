"""Where nothing in C could be compiled, torch does its work: the same numbers, the same tests."""

import re
import shutil
from pathlib import Path

import pytest

from tests.commands import PLUGIN, TINY, TRAINING, run
from tests.compiled import skip_unless_compiled

skip_unless_compiled()
ROOT = PLUGIN.parent


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A copy of the repository without what was compiled."""
    left = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", ".*", "data", "results", "build")
    shutil.copytree(ROOT, tmp_path / "copy", ignore=left)
    if (ROOT / "data" / "manifests").is_dir():  # of the repository; the rest is the user's
        shutil.copytree(ROOT / "data" / "manifests", tmp_path / "copy" / "data" / "manifests")
    return tmp_path / "copy"


@pytest.mark.slow
def test_the_tests_of_what_is_compiled_are_skipped(bare: Path, monkeypatch) -> None:
    """And all others are there, with the copy."""
    monkeypatch.delenv("CI", raising=False)
    loaded = "from nmt_moe.kernels.cpu.extension import library; print(library)"
    assert run("python", "-c", loaded, cwd=bare).stdout == "None\n"
    collect = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", "--collect-only"]
    there = run("python", *collect, cwd=bare).stdout
    assert "error" not in there.splitlines()[-1]
    assert "tests/moe/test_layer.py::" in there
    assert not any(f"{path}::" in there for path in COMPILED)
    assert re.search(r"^SKIPPED \[\d+\] .*: was not compiled here$", there, re.MULTILINE)


COMPILED = [
    *("tests/kernels/test_experts.py", "tests/kernels/test_linear.py"),
    *("tests/kernels/test_factored.py", "tests/optim/test_gradients.py"),
]


def test_a_training_has_the_same_losses(bare: Path, data: Path) -> None:
    options = ["--max-update", 10, "--log-interval", 1, "--optimizer", "moe_adam"]
    losses = []
    for plugin, save in ((PLUGIN, bare / "with"), (bare / PLUGIN.name, bare / "without")):
        where = ["--user-dir", plugin, "--save-dir", save]
        finished = run("fairseq-train", data, *where, *TINY, *TRAINING, *options)
        losses.append([float(line["loss"]) for line in finished.logs("train_inner")])
    assert len(losses[0]) == 10
    assert losses[0] == pytest.approx(losses[1], abs=0.002)
