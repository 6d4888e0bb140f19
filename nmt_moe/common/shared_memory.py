"""What to tell a user whose processes found no room in shared memory."""

import os
import shutil
from contextlib import suppress
from pathlib import Path


def why_worker_ended() -> str:
    """What to tell a user whose training has lost a process that prepares batches."""
    with suppress(OSError):
        return f"could not hand over a batch ({note().read_text()}): {_remedy()}"
    return f"was killed, mostly for want of memory: {_remedy()}"


def no_shared_memory() -> str:
    """What to tell a user where processes cannot be made for want of shared memory."""
    return f"no room for what processes share: {_remedy()}"


def _remedy() -> str:
    size = shutil.disk_usage("/dev/shm").total if os.path.isdir("/dev/shm") else 0
    return (
        f"give --num-workers 0 or make more room in /dev/shm, which has {size / 2**20:,.0f} MiB "
        "(docker run --shm-size=2g)"
    )


def note() -> Path:
    """In the folder that a training and its processes have in common."""
    from multiprocessing.util import get_temp_dir  # most commands need no other process

    return Path(get_temp_dir(), "lost")
