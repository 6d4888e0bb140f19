"""Downloading the archives of a manifest, from the first mirror that delivers.

A file has its own name only when it is complete and verified; until then it is ``NAME.part``, which
the same command resumes. Archives that exist already, from elsewhere, are verified in the same way.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.common.door import door
from nmt_moe.common.errors import UserError
from nmt_moe.corpus import checksums
from nmt_moe.corpus.manifest import Archive
from nmt_moe.corpus.transfer import Interrupted, discard, origin, transfer

_LONGEST_PAUSE = 60.0
_LASTING_TRIES = 3


@dataclass(frozen=True)
class Patience:
    """Timeouts and retries, in seconds."""

    timeout: float = 30.0  # for data, before a try has failed
    tries: int = 8  # of all mirrors, in a row and without a byte more
    pause: float = 1.0  # after the first such try; doubled after each
    interval: float = 10.0  # between two lines of progress


def download(
    wanted: Sequence[Archive], folder: Path, mirrors: Sequence[str], patience: Patience
) -> None:
    """Download the archives that are missing, and verify all of them.

    Args:
        wanted: the archives.
        folder: where to put them.
        mirrors: ``http:``, ``https:`` or ``file:`` URLs, to which the path of an archive is added.
        patience: when to try again, and when to give up.

    Raises:
        UserError: an archive cannot be downloaded, or fails verification; names it.
    """
    for mirror in mirrors:
        if not mirror.startswith(("http://", "https://", "file://")):
            raise UserError(f"the mirror {mirror} is no http:, https: or file: URL")
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        for archive in wanted:
            path = folder / archive.name
            if path.exists():
                _keep(archive, path)
            else:
                _fetch(archive, path, mirrors, patience)
            if os.access(folder, os.W_OK):
                checksums.record(archive, folder)


def _keep(archive: Archive, path: Path) -> None:
    """Check a file that is there; one that is not right gets another name."""
    trouble = checksums.trouble(archive, path)
    if trouble:
        bad = path.with_name(path.name + ".bad")
        path.replace(bad)
        raise UserError(f"{path}: {trouble}. It is {bad.name} now; the next try downloads it")
    print(f"{archive.name}: is there, checked", flush=True)


def _fetch(archive: Archive, path: Path, mirrors: Sequence[str], patience: Patience) -> None:
    if path.is_symlink():  # to where nothing is yet: it stays
        path = Path(os.path.realpath(path))
    part = path.with_name(path.name + ".part")
    origins = [*map(origin, mirrors)]
    left = list(mirrors)  # without those whose file is not what it should be
    failures, most = 0, part.stat().st_size if part.exists() else 0
    reason = "there is no mirror"
    while left:
        lasting = True
        for mirror in tuple(left):
            url = f"{mirror.rstrip('/')}/{archive.path}"
            try:
                fresh = transfer(
                    url, part, archive.bytes, patience.timeout, patience.interval, origins
                )
            except Interrupted as error:
                reason = f"{url}: {error}"
                lasting = lasting and error.lasting
            else:
                trouble = checksums.trouble(archive, part)
                if not trouble:
                    _publish(part, path)
                    return
                reason = f"{url}: {trouble}"
                discard(part)
                if fresh:
                    left.remove(mirror)
            print(reason, flush=True)
        size = part.stat().st_size if part.exists() else 0
        failures = 0 if size > most else failures + 1
        most = max(most, size)
        if not left or failures >= (_LASTING_TRIES if lasting else patience.tries):
            break
        pause = min(patience.pause * 2 ** max(failures - 1, 0), _LONGEST_PAUSE)
        print(f"{archive.name}: trying again in {pause:g} s", flush=True)
        time.sleep(pause)
    raise UserError(
        f"{archive.name} cannot be downloaded; the last try, {reason}. "
        f"Name another mirror, or put the file into {path.parent}"
    )


def _publish(part: Path, path: Path) -> None:
    with part.open("rb") as file:
        os.fsync(file)  # a machine that stops now must not leave a part of it under this name
    part.replace(path)
    discard(part)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for another download into the same folder; nothing is written into one of others."""
    if not os.access(folder, os.W_OK):
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another download into {folder}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


main = door(__name__, "corpus", "download")
