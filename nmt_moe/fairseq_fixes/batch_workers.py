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
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.util import get_temp_dir
from typing import Any

from fairseq.data.iterators import BackgroundConsumer
from torch.utils.data import get_worker_info

from nmt_moe.common import shared_memory
from nmt_moe.fairseq_fixes.fix import Fix

_PATIENCE = 10  # seconds for the batch in preparation


def _giving_up(show: Callable[..., None]) -> Callable[..., None]:
    def give_up(error: Exception, obj: Any) -> None:
        if get_worker_info() is None:
            return show(error, obj)
        shared_memory.note().write_text(" ".join(str(error).split()))
        os._exit(1)

    return give_up


def end() -> None:
    """End the threads, of which each first hands over the batch that it prepares."""
    consumers = [one for one in threading.enumerate() if isinstance(one, BackgroundConsumer)]
    for consumer in consumers:
        consumer._max_len = 0  # no other batch after the one in preparation
    until = time.monotonic() + _PATIENCE
    for consumer in consumers:
        while consumer.is_alive() and time.monotonic() < until:
            with suppress(queue.Empty):  # it may be waiting for room
                consumer._queue.get(timeout=0.01)


def end_with_the_program() -> None:
    """End the threads before the interpreter does."""
    atexit.register(end)


def _in_one_folder(get: Callable[..., Any]) -> Callable[..., Any]:
    def get_batch_iterator(*args: Any, **kwargs: Any) -> Any:
        get_temp_dir()
        return get(*args, **kwargs)

    return get_batch_iterator


FIXES = (
    Fix(
        "fairseq.tasks.fairseq_task:FairseqTask.get_batch_iterator",
        _in_one_folder,
        "The processes that prepare batches use this one's temporary folder: one that is killed "
        "could not remove its own.",
    ),
    Fix(
        "multiprocessing.queues:Queue._on_queue_feeder_error",
        _giving_up,
        "A process that cannot hand over a batch ends and leaves a note, where Python prints a "
        "traceback and the training waits for ever.",
    ),
)
