"""A disk that is too small, and commands that write to it without waiting for their imports."""

import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.commands import Finished
from tests.forks import end_by_itself

PAGE = 4096


@dataclass
class Disk:
    """A folder with room for so many bytes, in whole pages of 4 KiB.

    It is a file system of its own where that is allowed, as for root. Elsewhere no file of a
    command that runs in :meth:`limit` can have more bytes: nothing is skipped.
    """

    folder: Path
    room: int
    mounted: bool

    def resize(self, room: int) -> None:
        self.room = room
        if self.mounted:
            # One page is taken already: a size of 0 would be no limit.
            options = f"remount,size={(1 + room // PAGE) * PAGE}"
            subprocess.run(["mount", "-o", options, str(self.folder)], check=True)

    def limit(self) -> None:
        """For the child process that writes."""
        if not self.mounted:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (max(1, self.room), resource.RLIM_INFINITY))


@contextmanager
def small_disk(folder: Path, room: int) -> Iterator[Disk]:
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={room + PAGE}", "tmpfs", str(folder)]
    mounted = not os.geteuid() and not subprocess.run(command, capture_output=True).returncode
    if mounted:
        (folder / ".taken").write_bytes(b"1")
    try:
        yield Disk(folder, room, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def in_a_child(
    function: Callable[[], Any],
    scratch: Path,
    prepare: Callable[[], None] = lambda: None,
    stdin: str = "",
    stdout: Path | None = None,
) -> Finished:
    """Call a command's ``main`` in a forked process: its code, and what it printed.

    Args:
        function: returns the code, or raises ``SystemExit``; another exception ends as a
            program's does, with ``sys.excepthook`` and 1.
        scratch: an existing folder for what it prints.
        prepare: called in the child before.
        stdin: its input.
        stdout: where its output goes instead.
    """
    (scratch / "stdin").write_text(stdin)
    out, err = stdout or scratch / "stdout", scratch / "stderr"
    child = os.fork()
    if not child:
        code = 1
        os.setpgid(0, 0)
        end_by_itself()
        try:
            for number, path, mode in ((0, scratch / "stdin", "r"), (1, out, "w"), (2, err, "w")):
                with path.open(mode) as file:
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
            code = code or 120  # as Python ends then
        os._exit(code)
    _, status = os.waitpid(child, 0)
    printed = out.read_text() if stdout is None else ""
    return Finished(os.waitstatus_to_exitcode(status), printed, err.read_text())
