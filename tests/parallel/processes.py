"""Run a function in several processes that can talk to each other (gloo)."""

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.forks import end_by_itself

TIMEOUT = 300  # seconds


def run_in(processes: int, folder: Path, function: Callable[..., Any], *arguments: Any) -> list:
    """``function(*arguments)`` in each of the processes; what each returned, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    context = mp.get_context("fork")  # torch is not imported again
    started = [
        context.Process(target=_work, args=(rank, processes, folder, function, arguments))
        for rank in range(processes)
    ]
    end = time.monotonic() + TIMEOUT
    try:
        for process in started:
            process.start()
        for process in started:
            process.join(max(0, end - time.monotonic()))
        late = [rank for rank, process in enumerate(started) if process.is_alive()]
    finally:
        for process in started:
            if process.is_alive():
                process.kill()
                process.join()
    errors = "".join(path.read_text() for path in sorted(folder.glob("error-*")))
    assert not late, f"processes {late} still running after {TIMEOUT} s: {errors}"
    assert not errors, errors
    codes = [process.exitcode for process in started]
    assert codes == [0] * processes, f"processes ended with {codes}"
    return [torch.load(folder / f"result-{rank}", weights_only=False) for rank in range(processes)]


def _work(rank: int, processes: int, folder: Path, function: Callable, arguments: tuple) -> None:
    end_by_itself()
    try:
        torch.set_num_threads(1)
        store = dist.FileStore(f"{folder}/rendezvous", processes)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=processes)
        _wait_for_others(store, rank, processes)
        torch.save(function(*arguments), folder / f"result-{rank}")
        dist.destroy_process_group()
    except BaseException:
        (folder / f"error-{rank}").write_text(f"process {rank}: {traceback.format_exc()}\n")
        raise


def _wait_for_others(store: dist.Store, rank: int, processes: int) -> None:
    """Until all are connected, as one that has nothing to say could end before.

    Through the store, since a test may have replaced ``dist.barrier``.
    """
    store.set(f"connected-{rank}", "")
    store.wait([f"connected-{other}" for other in range(processes)])
