"""fairseq's commands started as modules, ``python -m fairseq_cli.train``."""

import sys

import pytest

from nmt_moe.fairseq_fixes import program
from tests.commands import PLUGIN, TINY, TRAINING, run


@pytest.mark.parametrize(
    ("started", "command"),
    [
        ("/bin/fairseq-eval-lm", "fairseq-eval-lm"),
        ("/site-packages/fairseq_cli/eval_lm.py", "fairseq-eval-lm"),
        ("fairseq_cli/train.py", "fairseq-train"),
        ("/somewhere/train.py", None),
        ("", None),
    ],
)
def test_commands_by_the_file_that_was_started(started, command, monkeypatch):
    monkeypatch.setattr(sys, "argv", [started])
    assert program.name() == command


def test_a_training_that_is_started_as_a_module(data, tmp_path):
    """It is the one whose functions are replaced: the second time all is done. In half precision,
    too, which needs no other option."""
    module = ["-m", "fairseq_cli.train", data, "--user-dir", PLUGIN, "--save-dir", tmp_path]
    options = [*TINY, *TRAINING, "--optimizer", "moe_adam", "--fp16"]
    run("python", *module, *options, "--max-update", 2)
    again = run("python", *module, *options, "--max-update", 2)
    assert "all is done: 2 of 2 updates" in again.stdout
    assert "has replaced" not in again.stdout + again.stderr
    wrong = run("python", *module, *options, "--lr", "-1", fails=True)
    last = wrong.stderr.splitlines()[-1]
    assert last.startswith("error: ") and "Traceback" not in wrong.stderr, wrong.stderr
