"""Start what a stage consists of, and end as it ends.

Ctrl-C reaches each process of a recipe, SIGTERM perhaps the first one alone: each passes it on to
the command that it has started, waits for it, which may have something to save, and ends with its
code. A recipe that is killed passes nothing on: what it has started sees that it is gone.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from nmt_moe.common.errors import UserError, one_line, print_any_text, visible
from nmt_moe.common.files import atomic_write
from nmt_moe.runs.progress import follow

STOPPED = 75
"""The code of a training that was stopped by SIGTERM and has saved."""
_ERROR = re.compile(r"(?:^|: )error: (.*)")
_TAIL = 5  # lines
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_SET_SIGNAL_OF_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG
_running: dict[object, Any] = {}
"""The processes of what was started; None: it is about to."""
_signals: list[int] = []
_passed_on = {signal.SIGTERM}
"""The signals that what was started is told of as SIGTERM."""


class Failed(Exception):
    """A command has failed."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code


def exit_code(recipe: str, work: Callable[[], object], apart: bool = False) -> int:
    """Work for a recipe: the code of the command that failed, or 1 with a line on stderr.

    A signal ends this process at once, or when the command that it has started has ended.

    Args:
        recipe: its name.
        work: what it does.
        apart: what it starts is in sessions of its own: it hears no Ctrl-C and no end of the
            terminal, which are passed on as SIGTERM, and on Linux it is told so too where this
            process is killed.
    """
    parent = os.getppid()
    if apart:
        _passed_on.update((signal.SIGINT, signal.SIGHUP))
    of_shell = os.environ.get("RECIPE_PID") == str(parent)

    def note(number: int, frame: FrameType | None) -> None:
        _signals.append(number)
        # A second one may come while the seconds of the stage are noted.
        if not _running and len(_signals) == 1:
            raise Failed(128 + number)
        if number in _passed_on:
            for process in list(_running.values()):
                _pass_on(process)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A shell lets what it starts in the background ignore Ctrl-C; a recipe waits for it.
        heard = of_shell and number == signal.SIGINT
        if heard or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, note)
    if of_shell:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    print_any_text()
    try:
        work()
        sys.stdout.flush()
    except Failed as error:
        if str(error):
            print(visible(str(error)), file=sys.stderr)
        return error.code
    except (UserError, OSError) as error:
        print(f"{recipe}: {visible(one_line(error) or str(error))}", file=sys.stderr)
        return 1
    return 0


def environment() -> dict[str, str]:
    """Of the programs that are started: those beside this Python come first, also where it is not
    activated."""
    folder = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    if path.split(os.pathsep)[0] != folder:
        path = os.pathsep.join([folder, path])
    return os.environ | {
        "PATH": path,
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",  # or modules of the user's folder would stand in for others
    }


def apart() -> dict[str, Any]:
    """Options with which a program is in a session of its own, which hears no Ctrl-C; on Linux it
    is told by SIGTERM when this process is gone, also where that was killed."""
    found: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "linux":
        found["preexec_fn"] = _end_with_the_parent
    return found


def error_of(lines: Iterable[str]) -> str | None:
    """The last error among the lines that a program printed."""
    found = [match[1].strip() for match in map(_ERROR.search, lines) if match]
    return found[-1] if found else None


def told_to_stop() -> bool:
    """Whether this process was told to stop by a signal."""
    return bool(_signals)


def call(words: Sequence[str], **options: Any) -> None:
    """Run a command to its end.

    Args:
        words: it and its arguments; it may be a function that the recipe exports.
        options: those of :class:`subprocess.Popen`.

    Raises:
        Failed: with its code, as bash numbers it.
    """
    with _started(words, **options) as process:
        pass
    _check(process)


def logged(path: Path, words: Sequence[str], recipe: str, stdout: Any = None) -> None:
    """Run a command whose output goes to a file; if it fails, the end of it is shown.

    With ``stdout`` its standard output goes there, and only its standard error to the file.
    """
    last: deque[str] = deque(maxlen=_TAIL)
    try:
        with path.open("wb") as log:
            for line in lines(words, log, stdout):
                last.append(line)
    except Failed as error:
        # Not from the log, for which there may be no room.
        sys.stderr.writelines(last)
        message = f"{recipe}: that failed, all of the output is in {path}"
        raise Failed(1, message) from error


def trained(path: Path, words: Sequence[str], recipe: str) -> None:
    """Run a training: its log is continued, and a line is shown of each of its reports."""
    try:
        with path.open("ab") as log:
            for line in follow(lines(words, log)):
                print(line, flush=True)
    except Failed as error:
        if error.code == STOPPED or _signals:
            raise
        message = f"{recipe}: fairseq-train failed, all it printed is in {path}"
        raise Failed(1, message) from error


def written(path: Path, words: Sequence[str], **options: Any) -> None:
    """Run a command whose standard output becomes a file, if it succeeds."""
    with atomic_write([path], "wb") as [file]:
        call(words, stdout=file, **options)


def lines(words: Sequence[str], log: Any, stdout: Any = None, **options: Any) -> Iterator[str]:
    """What a command prints, line by line, once it is in the log.

    Args:
        words: it and its arguments.
        log: the open file.
        stdout: where its standard output goes instead; then these are those of its standard error.
        options: other ones of :class:`subprocess.Popen`.

    Raises:
        Failed: with its code.
    """
    full: OSError | None = None
    streams = (subprocess.PIPE, subprocess.STDOUT) if stdout is None else (stdout, subprocess.PIPE)
    with _started(words, stdout=streams[0], stderr=streams[1], **options) as process:
        for line in process.stdout or process.stderr:
            try:
                log.write(line)
                log.flush()
            except OSError as error:  # the command shall end as it would have
                full = error
            yield line.decode("utf-8", "backslashreplace")
    _check(process)
    if full is not None:
        raise full


@contextmanager
def _started(words: Sequence[str], **options: Any) -> Iterator[Any]:
    token = object()
    _running[token] = None
    try:
        _stop_if_told()
        options.setdefault("env", environment())
        # What it starts holds the lock of the folder too.
        command = ["bash", "-c", '"$@"', words[0], *words]
        with subprocess.Popen(command, close_fds=False, **options) as process:
            _running[token] = process
            if _passed_on.intersection(_signals):  # told while it was started
                _pass_on(process)
            yield process
    finally:
        del _running[token]


def _pass_on(process: Any) -> None:
    if process is not None:
        process.send_signal(signal.SIGTERM)


def _end_with_the_parent() -> None:
    """In the process that is started."""
    if _LIBC is not None:
        _LIBC.prctl(_SET_SIGNAL_OF_PARENTS_DEATH, signal.SIGTERM)


def _end_with(parent: int) -> None:
    """End this process as SIGTERM does when its parent is gone; macOS has no signal for that."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _check(process: Any) -> None:
    code = process.returncode
    if code != STOPPED:
        _stop_if_told()
    if code:
        raise Failed(code if code > 0 else 128 - code)


def _stop_if_told() -> None:
    if _signals:
        raise Failed(128 + _signals[0])
