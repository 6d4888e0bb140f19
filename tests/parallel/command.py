"""``fairseq-train`` in processes like those of torchrun, without waiting for its imports."""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch._dynamo  # noqa: F401 (long; torch imports it with the first optimizer)
from fairseq_cli import train as fairseq_train

import nmt_moe.plugin  # noqa: F401 (before processes are forked)
from nmt_moe.fairseq_fixes import errors
from tests.commands import PLUGIN, TINY, TRAINING, Finished
from tests.forks import end_by_itself, read_options_once

TIMEOUT = 120  # seconds


@dataclass
class Running:
    """A training whose processes are one group."""

    processes: list[int]
    output: Path

    def kill(self) -> None:
        """End all of its processes at once."""
        with suppress(ProcessLookupError):  # they may be done
            os.killpg(self.processes[0], signal.SIGKILL)
        for process in self.processes:
            os.waitpid(process, 0)

    def wait(self) -> Finished:
        """What it printed, once all processes have ended; its code is 0 if all of theirs are."""
        codes: dict[int, int] = {}
        end = time.monotonic() + TIMEOUT
        while len(codes) < len(self.processes) and time.monotonic() < end:
            for process in set(self.processes) - codes.keys():
                found, status = os.waitpid(process, os.WNOHANG)
                if found:
                    codes[process] = os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        late = set(self.processes) - codes.keys()
        for process in late:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        printed = self.output.read_text()
        assert not late, f"still running after {TIMEOUT} s:\n{printed}"
        return Finished(max(map(abs, codes.values())), printed, "")


def start(
    processes: int,
    data: Path,
    save_dir: Path,
    *arguments: object,
    prepare: Callable[[int], None] = lambda rank: None,
) -> Running:
    """Start a training of the small model; each process first calls ``prepare`` with its number."""
    save_dir.mkdir(parents=True, exist_ok=True)
    output = save_dir / "output.txt"
    output.write_text("")
    where = [data, "--user-dir", PLUGIN, "--save-dir", save_dir]
    command = ["fairseq-train", *map(str, [*where, *TINY, *TRAINING, *arguments])]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started: list[int] = []
    read_options_once()
    for rank in range(processes):
        process = os.fork()
        if not process:
            torchrun = {} if processes == 1 else _environment(rank, processes, port)
            _become(command, output, torchrun, lambda rank=rank: prepare(rank))
        os.setpgid(process, started[0] if started else process)
        started.append(process)
    return Running(started, output)


def train(processes: int, data: Path, save_dir: Path, *arguments: object) -> Finished:
    """A training to its end, which must be good."""
    finished = start(processes, data, save_dir, *arguments).wait()
    assert finished.code == 0, finished.stdout
    return finished


def _environment(rank: int, processes: int, port: int) -> dict[str, str]:
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes}
    return where | {name: str(number) for name, number in numbers.items()}


def _become(
    command: list[str], output: Path, environment: dict[str, str], prepare: Callable[[], None]
) -> None:
    code = 1
    end_by_itself()
    try:
        file = output.open("a", buffering=1, encoding="utf-8")
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        sys.stdout = sys.stderr = file
        shown = "%(asctime)s | %(levelname)s | %(name)s | %(message)s"  # as fairseq does
        logging.basicConfig(format=shown, level=logging.INFO, stream=sys.stdout, force=True)
        os.environ.update(environment)
        sys.argv = command
        errors.apply()
        prepare()
        fairseq_train.cli_main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        os._exit(code)
