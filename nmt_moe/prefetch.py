"""fairseq's thread and processes that prepare batches: both end when they should.

A training that ends within an epoch leaves that thread at work. When the interpreter ends while
it is inside torch, the whole process is aborted, with "terminate called without an active
exception" and exit code 134, although everything was saved. fairseq has no hook to stop it.

A process that cannot hand over a batch, mostly for want of shared memory, prints a traceback and
goes on with the next batch, while the training waits for this one for ever: Python's queues know
no better. It leaves a note here and ends, which torch notices.
"""

import atexit
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.queues import Queue
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any

from fairseq.data.iterators import BackgroundConsumer
from torch.utils.data import get_worker_info

_PATIENCE = 10  # seconds for the batch in preparation


def install() -> None:
    """End the threads before the interpreter does, and processes where a batch is lost."""
    atexit.register(_end)
    before = Queue._on_queue_feeder_error  # type: ignore[attr-defined]
    Queue._on_queue_feeder_error = staticmethod(_giving_up(before))  # type: ignore[attr-defined]


def why_ended() -> str:
    """What to tell a user whose training has lost a process that prepares batches."""
    with suppress(OSError):
        return f"could not hand over a batch ({_note().read_text()}): {_remedy()}"
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


def _note() -> Path:
    """In the folder that a training and its processes have in common."""
    return Path(get_temp_dir(), "lost")


def _giving_up(show: Callable[..., None]) -> Callable[..., None]:
    def give_up(error: Exception, obj: Any) -> None:
        if get_worker_info() is None:
            return show(error, obj)
        _note().write_text(" ".join(str(error).split()))
        os._exit(1)

    return give_up


def _end() -> None:
    consumers = [one for one in threading.enumerate() if isinstance(one, BackgroundConsumer)]
    for consumer in consumers:
        consumer._max_len = 0  # no other batch after the one in preparation
    until = time.monotonic() + _PATIENCE
    for consumer in consumers:
        while consumer.is_alive() and time.monotonic() < until:
            with suppress(queue.Empty):  # it may be waiting for room
                consumer._queue.get(timeout=0.01)
