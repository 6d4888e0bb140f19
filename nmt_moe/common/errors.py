"""Errors that a user can fix, shown as one line."""

import ast
import difflib
import errno
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from nmt_moe.common import shared_memory

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class UserError(ValueError):
    """An input or option is wrong; the message says which one, and what to do."""


class ErrorOnEveryRank(UserError):
    """Raised on every rank of a training; rank 0 prints it."""


def suggestion(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint for a mistyped name: the close ones among the known names, else all of them.

    Where these are too many for a line, ``otherwise`` says where they are.
    """
    close = difflib.get_close_matches(name, known)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return otherwise or f"choose from {', '.join(known)}"


def one_line(error: BaseException) -> str | None:
    """The line to show instead of a traceback, or None if the user cannot fix the error.

    fairseq raises messages for users as a bare ``Exception``, as ``OSError`` without a number, as
    ``FileNotFoundError``, as an ``assert`` with a text, or as any other error with a text in a
    ``raise`` of its own; it may do so while it handles a :class:`UserError` that says more.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        # What a worker of a pool could not write has been raised there first.
        here = error.__cause__ is None
        if here and error.filename is None and raised_within(error, "multiprocessing."):
            return shared_memory.no_shared_memory()
        what = error.filename or "what was to be written"
        return f"no room for {what} ({error.strerror}): free some space and rerun the same command"
    if isinstance(error, FileExistsError) and error.errno is None:  # fairseq-preprocess: its path
        return f"there is {error} already: remove it, or choose another folder"
    if isinstance(error, UnicodeDecodeError):
        return f"the input is not UTF-8 text: {error}"
    if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):
        return f"a process that prepares batches (--num-workers) {shared_memory.why_worker_ended()}"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if out_of_memory or "can't allocate" in str(error):
        return (
            "there is too little memory: use a smaller --max-tokens or --batch-size, or a smaller "
            "model"
        )
    kept = _not_kept(error)
    if kept is not None:
        return kept
    wrong = _misspelt(error)
    if wrong is not None:
        return f"{wrong}: an option that is read as Python or JSON is misspelt"
    meant_for_users = (
        type(error) is Exception
        or _raised_by_fairseq(error)
        or isinstance(error, FileNotFoundError)
        or (isinstance(error, OSError) and error.errno is None)
        or (isinstance(error, AssertionError) and " " in str(error))
    )
    # A KeyError shows its text in quotation marks.
    text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
    return " ".join(text.split()) if meant_for_users else None


def _raised_by_fairseq(error: BaseException) -> bool:
    """Whether fairseq itself says something: Python's own errors in its code are for developers."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not error.args or " " not in str(error.args[0]):
        return False
    folder = Path(frames[-1].filename).parent
    inside = any(name in folder.parts for name in ("fairseq", "fairseq_cli"))
    return inside and (frames[-1].line or "").startswith("raise ")


def _not_kept(error: BaseException) -> str | None:
    """The message for an option that Hydra cannot put into fairseq's configuration."""
    text = str(error)
    found = re.search(r"override \w+\.(\w+)=null|Missing mandatory value: (\w+)", text)
    if type(error).__module__ not in ("hydra.errors", "omegaconf.errors"):
        return None
    if found is not None:
        return f"--{(found[1] or found[2]).replace('_', '-')} is missing"
    if getattr(error, "options", None):  # of a group
        folder, _, name = str(error.missing_cfg_file).rpartition("/")  # type: ignore[attr-defined]
        return f"there is no {folder} named {name}: {suggestion(name, error.options)}"  # type: ignore[attr-defined]
    # Hydra says where, and OmegaConf what.
    inner = error.__cause__ or error.__context__ or error
    known = getattr(inner, "parent_node", None)
    if known is not None and type(inner).__name__ in ("ConfigAttributeError", "ConfigKeyError"):
        hint = suggestion(str(inner.key), known)  # type: ignore[attr-defined]
        added = re.search(r"To append to your config use (\+.*)", text)
        if added and inner.object_type is dict:  # type: ignore[attr-defined]
            hint = f"to add it type {added[1]}"  # a group that knows its options only later
        return f"there is no {inner.full_key}: {hint}"  # type: ignore[attr-defined]
    absent = re.search(r"Could not override '(\w+)'. No match in the defaults list", text)
    if absent:
        group = absent[1]
        return f"the file of --config-name has no {group} in its defaults: type {group}._name=..."
    lines = dict.fromkeys(
        (f"{one}".strip() or type(one).__name__).splitlines()[0] for one in (error, inner)
    )
    said = ": ".join(line for line in lines if "$" not in line)  # what OmegaConf has filled in
    place = getattr(inner, "full_key", None) or ""
    said = said if not place or place in said else f"{place}: {said}"
    hint = ": give a list, such as [0.001]" if "is not a ListConfig" in said else ""
    return f"an option cannot be read: {said}{hint}"


def _misspelt(error: BaseException) -> str | None:
    """The text of an option that ``eval``, ``literal_eval`` or ``json`` cannot read."""
    if isinstance(error, json.JSONDecodeError):
        return error.doc
    if isinstance(error, SyntaxError) and error.filename in ("<string>", "<unknown>"):
        return error.text or str(error)
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, ValueError) and frames and Path(frames[-1].filename) == Path(ast.__file__):
        return str(error)
    return None


def raised_within(error: BaseException, package: str) -> bool:
    """Whether a frame of the traceback belongs to a package."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__", "").startswith(package) for frame, _ in frames)


def visible(text: str) -> str:
    """The text with escapes for characters that cannot be printed, line ends among them."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def exit_code(command: Callable[[], None]) -> int:
    """Run a command: 0, or 1 with one line on stderr for an error that the user can fix.

    130 after Ctrl-C, as of a command that SIGINT ends.
    """
    print_any_text()
    try:
        _check_package()
        command()
        sys.stdout.flush()
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError) and error.filename is None:
            _give_up_output()
            return 141  # as of a command that SIGPIPE ends: its reader has read enough
        say(one_line(error) or str(error))
        return 1
    except KeyboardInterrupt:
        say("stopped by Ctrl-C")
        return 130
    return 0


def _check_package() -> None:
    """A clone named nmt_moe, from the folder around it, may be taken for the package in it."""
    package = sys.modules["nmt_moe"]
    if package.__file__ is None:
        raise UserError(
            f"{next(iter(package.__path__))} stands in for the package nmt_moe here: type python "
            "-P -m for python -m, or work in another folder"
        )


def print_any_text(encoding: str | None = None) -> None:
    """Print escapes for characters that the encoding of standard output lacks.

    That is the locale's, such as ISO-8859-1, or the one of ``PYTHONIOENCODING``; here another one
    can be named. No text ends a command whose work is done.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if encoding and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")


def say(line: str) -> None:
    print(f"error: {visible(line)}", file=sys.stderr)
    _give_up_output()


def _give_up_output() -> None:
    """Python would fail once more at its end where there is no room for what is left to print."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
