"""The numbers of the commands of ``nmt-moe``: a line names the option and its range."""

import sys

import pytest

from nmt_moe.cli.arguments import _Parser
from nmt_moe.cli.main import COMMANDS, build_parser, main
from nmt_moe.common.ranges import Range
from tests.commands import run
from tests.reliability.test_options import edges, outside

WORDS = ("many", "", "1,2", "0x10", "nan", "inf", "-inf")


ARGUMENTS = [
    pytest.param(words, parser, action, id="-".join([*words, *action.option_strings]))
    for words in COMMANDS
    for parser in [build_parser(words)]
    for action in parser._actions
    if action.type in (int, float) or isinstance(action.type, Range)
]


def test_all_commands_are_looked_at():
    commands = {words for words, *_ in (case.values for case in ARGUMENTS)}
    assert len(commands) >= 9 and len(ARGUMENTS) > 30


def refused(arguments: list[str], capsys) -> str:
    assert main(arguments) == 1
    shown = capsys.readouterr()
    [line] = shown.err.splitlines()
    assert not shown.out
    return line


@pytest.mark.parametrize(("words", "parser", "action"), ARGUMENTS)
def test_numbers_of_a_command(words, parser, action, capsys, tally):
    allowed = action.type
    assert isinstance(allowed, Range), f"{words} {action.option_strings} declares no range"
    assert isinstance(parser, _Parser)
    option = (action.option_strings or [action.metavar or action.dest])[0]
    for value in [*outside(allowed), *WORDS, "1.5" if allowed.kind is int else "1.5.5"]:
        text = str(value) if not isinstance(value, int) or abs(value) < 10**300 else "1" + "0" * 400
        if action.nargs:
            if text.startswith("-i"):  # would be an option
                continue
            given = [option, *[text] * action.nargs]
        else:
            given = [f"{option}={text}"] if action.option_strings else ["--", text]
        line = refused([*words, *given], capsys)
        tally(inputs=1)
        assert line.startswith(f"error: {option} must be ") and str(allowed) in line, line
    for value in edges(allowed):
        tally(inputs=1)
        assert allowed(repr(value)) == value
        action_value = parser._get_value(action, repr(value))
        assert action_value == value and isinstance(action_value, allowed.kind)
    if action.default is not None:
        assert action.default in allowed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["translate", "x.pt", "--beam", "0"], "--beam must be at least 1, not 0"),
        (
            ["plan", "--arch", "lstm_moe", "--devices", "two"],
            "--devices must be a whole number, at least 1, not 'two'",
        ),
        (
            ["corpus.wordpieces", "train", "x", "--out", "x", "--coverage", "nan"],
            "--coverage must be at least 0.98 and at most 1, not nan",
        ),
        (
            ["translate", "x.pt", "--gnmt-beta", "inf"],
            "--gnmt-beta must be finite and at least 0, not inf",
        ),
    ],
)
def test_as_a_user_types_it(command, message, tally):
    finished = run(sys.executable, "-m", f"nmt_moe.{command[0]}", *command[1:], fails=True)
    tally(inputs=1)
    assert finished.stderr == f"error: {message}\n" and finished.code == 1
