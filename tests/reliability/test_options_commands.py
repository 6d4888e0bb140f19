"""The numbers of the commands ``python -m nmt_moe.*``: a line names the option and its range."""

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nmt_moe
from nmt_moe.common.ranges import Parser, Range
from tests.commands import PLUGIN, run
from tests.reliability.test_options import edges, outside

WORDS = ("many", "", "1,2", "0x10", "nan", "inf", "-inf")


class _Found(Exception):
    pass


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser, list[str]]]:
    """The parser of every command, and of every command in it, and how to get there."""
    for module in pkgutil.walk_packages(nmt_moe.__path__, "nmt_moe."):
        path = Path(PLUGIN.parent, *module.name.split("."))
        source = path / "__init__.py" if module.ispkg else path.with_suffix(".py")
        # A kernel has no source here.
        if source.is_file() and "Parser(" in source.read_text(encoding="utf-8"):
            command = importlib.import_module(module.name)
            if hasattr(command, "main"):
                yield from below(module.name, caught(command.main), [])


def caught(main) -> argparse.ArgumentParser:
    """The parser that a command is about to use."""

    def parse_args(self, *_):
        raise _Found(self)

    before = argparse.ArgumentParser.parse_args
    argparse.ArgumentParser.parse_args = parse_args
    try:
        main([])
    except _Found as found:
        return found.args[0]
    finally:
        argparse.ArgumentParser.parse_args = before
    raise AssertionError("it has read no arguments")


def below(name: str, parser: argparse.ArgumentParser, way: list[str]) -> Iterator:
    yield name, parser, way
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, command in action.choices.items():
                yield from below(name, command, [*way, word])


ARGUMENTS = [
    pytest.param(name, parser, way, action, id="-".join([name, *way, *action.option_strings]))
    for name, parser, way in parsers()
    for action in parser._actions
    if action.type in (int, float) or isinstance(action.type, Range)
]


def test_all_commands_are_looked_at():
    names = {name for name, *_ in (case.values for case in ARGUMENTS)}
    assert len(names) >= 9 and len(ARGUMENTS) > 30


def refused(name: str, arguments: list[str], capsys) -> str:
    main = importlib.import_module(name).main
    assert main(arguments) == 1
    shown = capsys.readouterr()
    [line] = shown.err.splitlines()
    assert not shown.out
    return line


@pytest.mark.parametrize(("name", "parser", "way", "action"), ARGUMENTS)
def test_numbers_of_a_command(name, parser, way, action, capsys, tally):
    allowed = action.type
    assert isinstance(allowed, Range), f"{name} {action.option_strings} declares no range"
    assert isinstance(parser, Parser)
    option = action.option_strings[0]
    for value in [*outside(allowed), *WORDS, "1.5" if allowed.kind is int else "1.5.5"]:
        text = str(value) if not isinstance(value, int) or abs(value) < 10**300 else "1" + "0" * 400
        line = refused(name, [*way, f"{option}={text}"], capsys)
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
