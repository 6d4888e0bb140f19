"""A disk that is too small."""

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
