"""Commands in processes that need not import everything again, and that can be killed.

They are forked from a process that has imported :mod:`tests.reliability.stages` and done nothing
else: the tests' own may have threads, as of sentencepiece, with which a forked process can crash.
"""

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.commands import Finished
from tests.forks import leave_to_the_parent
from tests.reliability.processes import of_group

TIMEOUT = 120  # seconds

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.reliability.preload"])


def nothing() -> None:
    """To prepare a child that nothing is done to."""


def in_a_child(
    function: Callable[[], Any],
    scratch: Path,
    prepare: Callable[[], None] = nothing,
    stdin: Path | None = None,
    stdout: Path | None = None,
    seconds: float | None = None,
) -> Finished:
    """Call a command's ``main`` in a process that leads a group: its code, and what it printed.

    Args:
        function: returns the code, or raises ``SystemExit``; another exception ends as a
            program's does, with ``sys.excepthook`` and 1. It is pickled, as ``prepare`` is.
        scratch: an existing folder for what it prints.
        prepare: called in the child before.
        stdin: a file with its input.
        stdout: where its output goes instead.
        seconds: kill its group after so long.
    """
    out, err = stdout or scratch / "stdout", scratch / "stderr"
    child = _context.Process(target=_become, args=(function, prepare, stdin, out, err))
    child.start()
    assert child.pid
    child.join(TIMEOUT if seconds is None else seconds)
    late = child.exitcode is None
    while child.exitcode is None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:  # it leads no group yet, or has just ended
            time.sleep(0.001)
    # Those it has started may take a moment longer to end, and to give up their locks.
    until = time.monotonic() + TIMEOUT
    while left := of_group(child.pid):
        assert time.monotonic() < until, f"{left} outlived their parent"
        time.sleep(0.005)
    printed = out.read_text() if stdout is None and out.exists() else ""
    finished = Finished(child.exitcode, printed, err.read_text() if err.exists() else "")
    assert seconds is not None or not late, f"still running after {TIMEOUT} s: {finished}"
    return finished


def _become(
    function: Callable[[], Any],
    prepare: Callable[[], None],
    stdin: Path | None,
    out: Path,
    err: Path,
) -> None:
    code = 1
    leave_to_the_parent()
    os.setpgid(0, 0)
    multiprocessing.set_start_method(None, force=True)  # as in any other process
    try:
        for number, path, mode in ((0, stdin or os.devnull, "r"), (1, out, "w"), (2, err, "w")):
            with open(path, mode) as file:
                os.dup2(file.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", 1), open(2, "w", 1)  # noqa: SIM115
        prepare()
        code = function() or 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException as error:
        if sys.excepthook is sys.__excepthook__:
            traceback.print_exc()
        else:
            sys.excepthook(type(error), error, error.__traceback__)
    try:
        sys.stderr.flush()
        sys.stdout.flush()
    except OSError:
        os._exit(code or 120)  # as Python ends then
    sys.exit(code)  # after the end of the processes it has started
