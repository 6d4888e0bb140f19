"""Errors that a user can mend, shown as one line."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from fairseq.distributed import utils as distributed_utils


class UserError(ValueError):
    """Something the user gave does not fit; the message says what, and what to do."""


class ErrorOfAll(UserError):
    """Raised in every process of a training alike; the first one shows it."""


def one_line(error: BaseException) -> str | None:
    """The line to show instead of a traceback, or None if the error is not the user's to mend.

    fairseq raises what is meant for users as a bare ``Exception``, as ``OSError`` without a
    number, as ``FileNotFoundError``, or as an ``assert`` with a text; it may do so while it
    handles a :class:`UserError` of ours that says more.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, UnicodeDecodeError):
        return f"the input is not UTF-8 text: {error}"
    meant_for_users = (
        type(error) is Exception
        or isinstance(error, FileNotFoundError)
        or (isinstance(error, OSError) and error.errno is None)
        or (isinstance(error, AssertionError) and " " in str(error))
    )
    return " ".join(str(error).split()) if meant_for_users else None


def exit_code(command: Callable[[], None]) -> int:
    """Run a command line of ours: 0, or 1 with a line on stderr for what the user can mend."""
    try:
        command()
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def show_in_one_line() -> None:
    """Let fairseq's commands end with ``error: ...`` where :func:`one_line` has one.

    A program that imports nmt_moe as a library keeps its own way of showing errors.
    """
    if Path(sys.argv[0]).name.startswith("fairseq-"):
        sys.excepthook = _show
        if isinstance(sys.stdin, io.TextIOWrapper):
            # In the C locale Python lets bytes pass that sentencepiece cannot take.
            sys.stdin.reconfigure(errors="strict")


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    line = one_line(error)
    if line is None:
        sys.__excepthook__(kind, error, trace)
    elif not isinstance(error, ErrorOfAll) or distributed_utils.get_global_rank() == 0:
        print(f"error: {line}", file=sys.stderr)
