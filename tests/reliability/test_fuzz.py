"""Bytes that a fuzzer made, or would make, through all that reads the bytes of others."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from tests.commands import Finished, run
from tests.recipes import ROOT
from tests.reliability.fuzz.inputs import INPUTS
from tests.reliability.fuzz.targets import TARGETS
from tests.tally import Tally

RUNS = 1_000  # of each target
fuzzer = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed: it has wheels for Linux on x86-64 only",
)


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_that_broke_something(target: str, tally: Tally) -> None:
    for name, content in INPUTS.items():
        try:
            TARGETS[target](content)
        except Exception as error:
            error.add_note(f"the input is {name}")
            raise
        tally(inputs=1)


def fuzz(folder: Path, *arguments: object, fails: bool = False) -> Finished:
    command = ["-m", "tests.reliability.fuzz", "--folder", folder, *arguments]
    # It instruments what it imports, and forks: it has to start as its own process.
    return run(sys.executable, *command, cwd=ROOT, fails=fails, fresh=True)


@pytest.mark.slow
@fuzzer
def test_fuzzing(tmp_path: Path, tally: Tally) -> None:
    """Where it fails, the last lines hold the input."""
    said = fuzz(tmp_path, "--runs", RUNS)
    done = re.findall(r"^stat::number_of_executed_units: (\d+)$", said.stderr, re.MULTILINE)
    # libFuzzer ends the changes of an input that it has begun.
    assert len(done) == len(TARGETS) and all(RUNS <= int(number) < 2 * RUNS for number in done)
    for target in TARGETS:  # some of the inputs reached what those before had not
        assert len([*(tmp_path / target).iterdir()]) > len(INPUTS)
    tally(inputs=sum(map(int, done)))


@pytest.mark.slow
@fuzzer
def test_the_fuzzer_follows_the_code(tmp_path: Path) -> None:
    """It finds six bytes that no chance would."""
    finished = fuzz(tmp_path, "planted", "--runs", 500_000, "--seed", 1, fails=True)
    assert finished.code == 1
    last = finished.stdout.splitlines()[-1]
    assert last.startswith("planted fails, see above, for the input b'<segs>")
    assert "ValueError: found" in finished.stderr + finished.stdout
