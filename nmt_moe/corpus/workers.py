"""Parallel processing of a stream: results in the order of the items, bounded memory."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from nmt_moe.common.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

_ENDING = {signal.SIGINT, signal.SIGTERM}
_AHEAD = 3  # items handed out for each process, so that none waits for work
_OFTEN = 2  # seconds between two looks at the processes, while they are waited for

_function: Callable[[Any], Any]  # of a worker process


def cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def all_threads() -> int:
    """The threads of all processes together: those of ``OMP_NUM_THREADS``, else the cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) else cores()


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[Result, None, None]:
    """``map(function, items)`` over processes; only a few items and results are held at a time.

    Args:
        function: any callable; processes inherit it by fork, so it need not be picklable.
        items: picklable, as the results must be.
        workers: the number of processes; with 1 no process is started.

    Raises:
        UserError: a process died.
    """
    if workers == 1:
        yield from map(function, items)
        return
    # A forked process shares the memory of this one, and needs 4 to 8 MiB of its own. joblib's loky
    # starts it anew: 25 to 31 MiB, and 27 for what tracks them. It waits for ever for a process
    # that is killed within a message, and its processes outlive a parent that is killed.
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("fork"), _begin, (function, os.getpid())
    )
    waiting: deque[Future[Result]] = deque()
    before = multiprocessing.active_children()
    processes: list[Any] = []
    try:
        for item in items:
            # The first forks the processes: they get none of these signals before _begin.
            signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
            try:
                waiting.append(pool.submit(_work, item))
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
            if not processes:
                processes = [x for x in multiprocessing.active_children() if x not in before]
            if len(waiting) >= workers * _AHEAD:
                yield _result(waiting.popleft(), pool, processes)
        while waiting:
            yield _result(waiting.popleft(), pool, processes)
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed, perhaps for memory: try again with fewer --workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _result(future: Future[Result], pool: ProcessPoolExecutor, processes: list[Any]) -> Result:
    """The result of a future, or BrokenProcessPool.

    A process that is killed within a message leaves the pool's thread waiting for the rest of it,
    for ever, as long as anybody could write it: the other processes and this one.
    """
    while not wait([future], _OFTEN).done:
        ended = any(process.exitcode is not None for process in processes)
        if ended and not wait([future], _OFTEN).done:  # the pool has not noticed
            for process in processes:
                process.kill()
            pool._result_queue._writer.close()  # type: ignore[attr-defined]
            break
    return future.result()


def _begin(function: Callable[[Any], Any], parent: int) -> None:
    """Start a worker process."""
    global _function
    _function = function
    # Ctrl-C reaches all processes of a terminal: the parent ends the work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _work(item: Any) -> Any:
    return _function(item)


def _end_with(parent: int) -> None:
    """A parent that is killed cannot end its workers."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """End a command with one line at Ctrl-C or SIGTERM, after its context managers have closed."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        raise UserError("interrupted: nothing was written") from None
    finally:
        signal.signal(signal.SIGTERM, before)
