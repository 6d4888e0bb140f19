"""End fairseq's thread that prepares batches before the interpreter ends.

A training that ends within an epoch leaves that thread at work. When the interpreter ends while
it is inside torch, the whole process is aborted, with "terminate called without an active
exception" and exit code 134, although everything was saved. fairseq has no hook to stop it.
"""

import atexit
import queue
import threading
import time
from contextlib import suppress

from fairseq.data.iterators import BackgroundConsumer

_PATIENCE = 10  # seconds for the batch in preparation


def install() -> None:
    """End the threads before the interpreter does."""
    atexit.register(_end)


def _end() -> None:
    consumers = [one for one in threading.enumerate() if isinstance(one, BackgroundConsumer)]
    for consumer in consumers:
        consumer._max_len = 0  # no other batch after the one in preparation
    until = time.monotonic() + _PATIENCE
    for consumer in consumers:
        while consumer.is_alive() and time.monotonic() < until:
            with suppress(queue.Empty):  # it may be waiting for room
                consumer._queue.get(timeout=0.01)
