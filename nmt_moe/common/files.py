"""Atomic file writes: temporary file, then rename.

The temporary file lies beside the target under a name that no other process has. A symbolic link
stays; the file that it leads to is replaced. A path that is no regular file, such as a pipe, or
that this process has open already, such as /dev/stdout, is written into. The path ``-`` is standard
output.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TextIO

from nmt_moe.common.errors import UserError

# A path in a text may be no UTF-8.
_TEXT = {"encoding": "utf-8", "newline": "\n", "errors": "backslashreplace"}
_LINKS = 40  # as many as Linux follows


@contextlib.contextmanager
def atomic_write(paths: Sequence[Path], mode: str = "w") -> Iterator[list[IO[Any]]]:
    """Open temporary files for all paths, in UTF-8 or with ``mode="wb"``; rename them at the end.

    After a failure the old files stay and no temporary file is left; one of a killed process is
    removed by the next write to the same path. Where several processes write the same files at
    once, all of them are of one process in the end. A file keeps its mode and owner.

    Raises:
        OSError: names one of the paths, not a temporary file.
    """
    text = {} if "b" in mode else _TEXT
    outputs: list[_Output] = []
    try:
        with contextlib.ExitStack() as stack:
            files: list[IO[Any]] = []
            for path in paths:
                outputs.append(_Output(path))
                files.append(stack.enter_context(outputs[-1].open(mode, text)))
            yield files
            for file, output in zip(files, outputs, strict=True):
                file.flush()
                if output.draft:
                    os.fsync(file)  # a machine that stops must not leave an empty file
            # They are open, and so locked, until they have their names.
            with _one_at_a_time({output.folder for output in outputs if output.draft}):
                for output in outputs:
                    output.publish()
    except OSError as error:
        for output in outputs:
            if error.filename in (None, output.draft, output.target):
                error.filename, error.filename2 = str(output.path), None
        raise
    finally:
        for output in outputs:
            output.discard()


def check_no_input(outputs: Iterable[Path], inputs: Sequence[Path], where: str) -> None:
    """Raise a :class:`UserError` for an output that is an input; ``where`` it is named."""
    for path in outputs:
        if path.is_file() and any(one.exists() and path.samefile(one) for one in inputs):
            raise UserError(f"{path} is an input: write to another {where}")


def check_folder(outputs: Iterable[Path], where: str) -> None:
    """Raise a :class:`UserError` for an output without a folder to be in, or one that is named
    twice; ``where`` it is named."""
    seen: set[Path] = set()
    for path in outputs:
        if _descriptor(path) is None and path.resolve() in seen:
            raise UserError(f"{path} is named twice: write to two files, {where}")
        seen.add(path.resolve())
        if not path.parent.is_dir():
            raise UserError(
                f"there is no folder {path.parent} for {path.name}: make it, or change {where}"
            )


def is_standard_output(path: Path | None) -> bool:
    """Whether what is written to a path goes where this process prints."""
    return path is not None and _descriptor(path) == 1


def beside(path: Path | None) -> TextIO:
    """Where to print what people read: standard output, or stderr if the path is that."""
    return sys.stderr if is_standard_output(path) else sys.stdout


def is_taken(path: Path) -> bool:
    """Whether a file is there that would be replaced."""
    return _descriptor(path) is None and path.is_file()


def _descriptor(path: Path) -> int | None:
    """The number of the file, open in this process, that a path such as /dev/stdout stands for."""
    if str(path) == "-":
        return 1
    name = os.path.abspath(path)
    for _ in range(_LINKS):
        folder, last = os.path.realpath(os.path.dirname(name)), os.path.basename(name)
        if folder in ("/dev/fd", os.path.realpath("/proc/self/fd")) and last.isdecimal():
            return int(last)
        if not os.path.islink(name):
            return None
        name = os.path.join(folder, os.readlink(name))
    return None


class _Output:
    """A path that is written to; ``draft`` is its temporary file, empty if it has none."""

    def __init__(self, path: Path) -> None:
        self.path, self.target, self.draft = path, os.path.realpath(path), ""
        self.folder, self._name = os.path.split(self.target)

    def open(self, mode: str, text: Mapping[str, Any]) -> IO[Any]:
        """The file to write into, which has the name of the path."""
        number = self._begin()
        return open(self.path, mode, opener=lambda *_: number, **text)

    def _begin(self) -> int:
        own = _descriptor(self.path)
        if own is not None:
            sys.stdout.flush()
            return os.dup(own)
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return self._make(0o666)
        if stat.S_ISDIR(there.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.path))
        if not stat.S_ISREG(there.st_mode):
            return os.open(self.path, os.O_WRONLY)
        if not os.access(self.path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))
        number = self._make(0o600)
        if there.st_uid != os.geteuid() or there.st_gid != os.getegid():
            with contextlib.suppress(OSError):
                os.fchown(number, there.st_uid, there.st_gid)
        os.fchmod(number, stat.S_IMODE(there.st_mode))
        return number

    def _make(self, mode: int) -> int:
        """Make a temporary file, locked as long as this process writes it."""
        start = f".{self._name[:50]}."
        _remove_left(self.folder, start)
        while True:
            self.draft = os.path.join(self.folder, f"{start}{os.urandom(8).hex()}.draft")
            number = os.open(self.draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(number, fcntl.LOCK_EX)
            if os.fstat(number).st_nlink:
                return number
            os.close(number)  # another process took it for one that was left

    def publish(self) -> None:
        """Rename the temporary file to its target."""
        if self.draft:
            os.replace(self.draft, self.target)
            self.draft = ""

    def discard(self) -> None:
        """Remove the temporary file, if there is one."""
        if self.draft:
            with contextlib.suppress(OSError):
                os.unlink(self.draft)


def _remove_left(folder: str, start: str) -> None:
    """Remove temporary files of killed processes: nobody locks them."""
    ours = re.compile(re.escape(start) + r"[0-9a-f]{16}\.draft")
    with contextlib.suppress(OSError):  # who may not list the folder may still write there
        for name in filter(ours.fullmatch, os.listdir(folder)):
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):  # BlockingIOError: it is being written
                number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path)
                finally:
                    os.close(number)


@contextlib.contextmanager
def _one_at_a_time(folders: Iterable[str]) -> Iterator[None]:
    """Let no other process rename files in these folders now."""
    with contextlib.ExitStack() as stack:
        for folder in sorted(folders):
            with contextlib.suppress(OSError):  # as above
                number = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, number)
                fcntl.flock(number, fcntl.LOCK_EX)
        yield
