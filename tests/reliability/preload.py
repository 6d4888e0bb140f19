"""Imported by the process from which commands are forked (:mod:`tests.reliability.children`)."""

from tests.forks import read_options_once
from tests.reliability import stages  # noqa: F401

read_options_once()
