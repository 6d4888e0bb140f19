"""The counts that end a run of tests, with the real pytest."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

RELIABILITY = Path(__file__).parent / "reliability"

FILE = """
from tests.tally import tally

def test_one(tally):
    tally(inputs=1000, faults=2)
    tally(inputs=5)

def test_two(tally):
    tally(faults=1)
    tally(work=7, losses=0)
"""
CONFTEST = """
from tests.tally import Summary

def pytest_configure(config):
    config.pluginmanager.register(Summary())
"""


def run(folder: Path, *arguments: str) -> str:
    (folder / "test_a.py").write_text(FILE)
    (folder / "test_b.py").write_text(FILE.replace("faults=1", "losses=len([8])"))
    (folder / "conftest.py").write_text(CONFTEST)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "xdist"]
    command += [*arguments, str(folder)]
    root = Path(__file__).resolve().parents[1]
    command += ["--rootdir", str(folder), "-o", "addopts=--import-mode=importlib"]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # others take a second each time
    return subprocess.run(command, capture_output=True, text=True, cwd=root, env=alone).stdout


def test_counts_of_several_processes_end_the_run(tmp_path: Path) -> None:
    for arguments in ([], ["--numprocesses", "2"]):
        lines = run(tmp_path, *arguments).splitlines()
        assert "test_a.py: 1,005 inputs, 3 faults, 0 losses of 7" in lines, lines
        assert "test_b.py: 1,005 inputs, 2 faults, 1 losses of 8" in lines
        assert "all: 2,010 inputs, 5 faults, 1 losses of 15" in lines
        assert re.match(r"ERROR .*test_b\.py::test_two", lines[-2]), lines
        assert "E       AssertionError: 1 losses" in lines
        assert "4 passed, 1 error" in lines[-1]


def test_what_is_not_counted_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "test_c.py").write_text(
        "from tests.tally import tally\ndef test(tally):\n    tally(fault=1)\n"
    )
    assert "fault is not counted" in run(tmp_path)


def test_files_that_compare_nothing_say_nothing_of_losses(tmp_path: Path) -> None:
    (tmp_path / "test_c.py").write_text(
        "from tests.tally import tally\ndef test(tally):\n    tally(inputs=2)\n"
    )
    assert "test_c.py: 2 inputs, 0 faults" in run(tmp_path).splitlines()


@pytest.mark.parametrize("path", sorted(RELIABILITY.glob("test_*.py")), ids=lambda path: path.stem)
def test_losses_are_measured(path: Path) -> None:
    """Nothing is said to be lost, or not, by a number in the test."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "losses":
            assert not isinstance(node.value, ast.Constant), f"line {node.value.lineno}"
