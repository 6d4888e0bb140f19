"""One training at a time in a ``--save-dir``: two would overwrite each other's checkpoints."""

import fcntl
import os
import time

from nmt_moe.common.errors import UserError

_ENDING = 5  # seconds for the system to take back the memory of a killed training, then its lock
_held: dict[str, int] = {}


def hold(folder: str) -> None:
    """Lock a folder for this process until it ends.

    The folder itself is locked, so no file is left behind. Without effect on a file system that has
    no locks; on a shared one, processes of other machines may not see the lock.

    Raises:
        UserError: another process still holds the lock after some seconds.
    """
    name = os.path.realpath(folder)
    if name in _held:
        return
    if not _held:
        os.register_at_fork(after_in_child=_let_go)
    lock = os.open(name, os.O_RDONLY)
    until = time.monotonic() + _ENDING
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(lock)
                raise UserError(
                    f"another training writes its checkpoints into {folder}: wait for its end, "
                    "or give this one another --save-dir"
                ) from None
            time.sleep(0.1)
        except OSError:
            break
    _held[name] = lock


def _let_go() -> None:
    """Close the inherited lock in a forked process; the parent keeps it.

    A process that prepares batches may outlive its training for a while, and must not hold the lock
    then.
    """
    while _held:
        os.close(_held.popitem()[1])
