"""Run a function in several processes that can talk to each other (gloo)."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

TIMEOUT = 120  # seconds


def run_in(processes: int, folder: Path, function: Callable[..., Any], *arguments: Any) -> list:
    """``function(*arguments)`` in each of the processes; what each returned, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    context = mp.get_context("fork")  # torch is not imported again
    started = [
        context.Process(target=_work, args=(rank, processes, folder, function, arguments))
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(TIMEOUT)
    for process in started:
        if process.is_alive():
            process.kill()
    errors = "".join(path.read_text() for path in sorted(folder.glob("error-*")))
    assert not errors, errors
    assert [process.exitcode for process in started] == [0] * processes
    return [torch.load(folder / f"result-{rank}", weights_only=False) for rank in range(processes)]


def _work(rank: int, processes: int, folder: Path, function: Callable, arguments: tuple) -> None:
    try:
        torch.set_num_threads(1)
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=processes
        )
        torch.save(function(*arguments), folder / f"result-{rank}")
        dist.destroy_process_group()
    except BaseException:
        (folder / f"error-{rank}").write_text(f"process {rank}: {traceback.format_exc()}\n")
        raise
