"""What a user reads of an error."""

import ast
import json
import socket
import sys
from collections.abc import Callable
from multiprocessing import resource_sharer
from types import SimpleNamespace

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.tasks import FairseqTask
from fairseq.utils import get_activation_fn
from omegaconf import OmegaConf

from nmt_moe.common.errors import UserError, exit_code, one_line
from nmt_moe.fairseq_fixes import errors


def said(error: Exception, capsys: pytest.CaptureFixture[str]) -> str:
    def command() -> None:
        raise error

    assert exit_code(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("end", "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
def test_what_the_user_gave_does_not_break_the_line(end: str, capsys) -> None:
    shown = f"a{end.encode('unicode_escape').decode()}b"
    assert said(UserError(f"no document 'a{end}b'"), capsys) == f"error: no document '{shown}'"
    assert said(FileExistsError(f"a{end}b"), capsys).startswith(f"error: there is {shown} already")


def test_a_reader_that_has_read_enough_is_no_error(capsys) -> None:
    def command() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    assert exit_code(command) == 141
    assert capsys.readouterr().err == ""


def test_letters_and_spaces_are_shown_as_they_are(capsys) -> None:
    line = "no file 'für  Élise/日本.txt'"
    assert said(UserError(line), capsys) == f"error: {line}"


def raised(cause: Callable[[], object]) -> str | None:
    with pytest.raises(BaseException) as caught:
        cause()
    return one_line(caught.value)


def test_what_fairseq_or_python_says_to_a_user_is_one_line(tmp_path) -> None:
    """It comes as whatever error was at hand; one without a text, or Python's own, is no user's."""
    (tmp_path / "file").touch()
    task = FairseqTask(SimpleNamespace())
    misspelt = "an option that is read as Python or JSON is misspelt"
    for cause, line in {
        lambda: get_activation_fn("tan"): "--activation-fn tan not supported",
        lambda: task.dataset("tset"): "Dataset not loaded: tset",
        lambda: (tmp_path / "file" / "x").open(): f"{tmp_path}/file/x: Not a directory",
        lambda: tmp_path.open(): f"{tmp_path}: Is a directory",
        lambda: json.loads("{beam"): f"{{beam: {misspelt}",
        lambda: ast.literal_eval("{'lr'"): f"{{'lr': {misspelt}",
        lambda: ast.literal_eval("lr"): misspelt,
        lambda: eval("(0.9"): f"(0.9: {misspelt}",
        lambda: OmegaConf.create({"a": "???"}).a: "--a is missing",
        lambda: torch.empty(10**15): "there is too little memory: use a smaller --max-tokens",
    }.items():
        assert line in (raised(cause) or "")
    for cause in (lambda: {}["key"], lambda: int("x"), lambda: Dictionary().add_symbol()):
        assert raised(cause) is None


def test_a_training_that_ends_while_a_worker_hands_over_a_batch(capfd, monkeypatch) -> None:
    monkeypatch.setattr(sys, "excepthook", errors._show)
    shared = resource_sharer.DupFd(0)
    with socket.socket(socket.AF_UNIX) as training:
        training.connect(shared._id[0])
    resource_sharer.stop(timeout=60)
    assert capfd.readouterr().err == ""
