"""fairseq's commands end with ``error: ...`` where :func:`one_line` has a line for the user."""

import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from fairseq.distributed import utils as distributed_utils

from nmt_moe.common.errors import (
    NO_ROOM,
    ErrorOnEveryRank,
    one_line,
    print_any_text,
    raised_within,
    say,
    visible,
)
from nmt_moe.fairseq_fixes import program
from nmt_moe.fairseq_fixes.fix import Fix

_HANDING_OVER = "multiprocessing.resource_sharer"


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, EOFError | ConnectionError) and raised_within(error, _HANDING_OVER):
        return  # the training has ended before a worker could hand over its batch
    if isinstance(error, KeyboardInterrupt):
        return say("stopped by Ctrl-C")
    line = one_line(error)
    if line is None:
        sys.__excepthook__(kind, error, trace)
    elif not isinstance(error, ErrorOnEveryRank) or _is_first():
        say(line)


def _say_what_is_cut(unraisable: "sys.UnraisableHookArgs") -> None:
    """Python would show a traceback for a file that is closed as garbage and finds no room."""
    error = unraisable.exc_value
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        name = getattr(unraisable.object, "name", "a file")
        print(f"warning: no room for {visible(str(name))}: it is cut", file=sys.stderr)
    else:
        sys.__unraisablehook__(unraisable)


@contextmanager
def ignored_in_garbage() -> Iterator[None]:
    """Say nothing of objects that fail while they are deleted."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook


def _is_first() -> bool:
    """Of a training's processes; those of torchrun do not know each other at once."""
    rank = os.environ.get("RANK", "0") if "WORLD_SIZE" in os.environ else "0"
    return distributed_utils.get_global_rank() == 0 and rank == "0"


def _lose(handle: Callable[..., None]) -> Callable[..., None]:
    """Python would show a traceback for each line of a log that finds no room, and go on.

    The same for one that the encoding of the locale cannot write: it is written with escapes.
    """
    full = set()

    def handle_error(handler: logging.Handler, record: logging.LogRecord) -> None:
        error = sys.exception()
        stream = getattr(handler, "stream", None)
        if isinstance(error, UnicodeEncodeError) and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            handler.emit(record)
        elif not isinstance(error, OSError) or error.errno not in NO_ROOM:
            handle(handler, record)
        elif handler not in full:
            full.add(handler)
            where = getattr(stream, "name", "")
            with suppress(OSError):
                print(f"warning: no room for the log {where}: lines are missing", file=sys.stderr)

    return handle_error


FIXES = (
    Fix(
        "sys:excepthook",
        lambda hook: _show,
        "An error that the user can mend is one line, of all ranks once.",
    ),
    Fix(
        "sys:unraisablehook",
        lambda hook: _say_what_is_cut,
        "A file that is closed as garbage and finds no room is one line.",
    ),
    Fix(
        "logging:Handler.handleError",
        _lose,
        "A log that finds no room is said once; a line that the locale cannot write has escapes.",
    ),
)


def apply() -> None:
    """Apply these in fairseq's commands, which read and write UTF-8, whatever the locale.

    A program that imports nmt_moe as a library keeps its own way of showing errors.
    """
    command = program.name()
    if command is None:
        return
    for fix in FIXES:
        fix.apply()
    if isinstance(sys.stdin, io.TextIOWrapper):
        # In the C locale Python lets bytes pass that sentencepiece cannot take.
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")
    # So are translations, and a log in a file, which others read.
    for_people = sys.stdout is None or sys.stdout.isatty()  # None where it is closed
    text = command in ("fairseq-generate", "fairseq-interactive")
    print_any_text("utf-8" if text or not for_people else None)
