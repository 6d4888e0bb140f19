"""Nothing waits for ever: processes that share experts, a stop, and batches that get lost."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fairseq import checkpoint_utils
from fairseq.sequence_generator import SequenceGenerator
from fairseq.tasks.translation import TranslationTask

from nmt_moe.common import shared_memory
from nmt_moe.fairseq_fixes import watchdog as watch
from tests.commands import Finished
from tests.parallel import command
from tests.reliability.processes import of_group
from tests.reliability.test_terminated import updates, wait_for
from tests.tally import Tally

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SHARED = ["--optimizer", "moe_adam", "--batch-size", 10, "--max-epoch", 1]
# Sentences of other lengths need another number of steps.
SEARCH = ["--eval-bleu", "--eval-bleu-args", '{"max_len_a": 1.5, "max_len_b": 0}']
SEARCH += ["--batch-size-valid", 2]
LONG = ["--max-update", 100_000, "--max-epoch", 100_000]
slow = pytest.mark.slow
LIMIT = 30  # seconds until something must have ended, on a busy machine


def only_error(finished: Finished) -> str:
    """What the first process says of what ends all of them."""
    assert finished.code != 0 and "Traceback" not in finished.stdout, finished.stdout
    lines = [line for line in finished.stdout.splitlines() if "error: " in line]
    assert len(lines) == 1, finished.stdout
    return lines[0].partition("error: ")[2]  # torch puts the process before it


def test_a_validation_that_translates(data: Path, tmp_path: Path) -> None:
    finished = command.start(2, data, tmp_path, *SHARED, *SEARCH).wait()
    assert finished.code == 0, finished.stdout
    assert finished.stdout.count("each process holds all experts: sharing them needs no --ev") == 1
    [valid] = finished.logs("valid")
    assert "valid_bleu" in valid

    asked = ["--moe-expert-parallel-size", 2]
    refused = command.start(2, data, tmp_path / "asked", *SHARED, *SEARCH, *asked).wait()
    assert "--moe-expert-parallel-size 2 needs no --eval-bleu" in only_error(refused)


def generates(rank: int) -> None:
    """As a task may whose options say nothing of it."""
    step = TranslationTask.valid_step

    def valid_step(self, sample, model, criterion):
        search = SequenceGenerator([model], self.target_dictionary, max_len_a=1.5, max_len_b=0)
        search.generate([model], sample)
        return step(self, sample, model, criterion)

    TranslationTask.valid_step = valid_step


def out_of_memory(rank: int) -> None:
    """fairseq leaves out such a batch, in one process alone."""
    step, calls = TranslationTask.train_step, []

    def train_step(self, *args, **kwargs):
        calls.append(1)
        if rank == 1 and len(calls) == 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return step(self, *args, **kwargs)

    TranslationTask.train_step = train_step


@slow
def test_a_task_that_translates_without_an_option(data: Path, tmp_path: Path) -> None:
    refused = command.start(2, data, tmp_path, *SHARED, prepare=generates).wait()
    assert "cannot translate" in only_error(refused)


@slow
def test_one_process_is_out_of_memory(data: Path, tmp_path: Path) -> None:
    finished = command.start(2, data, tmp_path, *SHARED, prepare=out_of_memory).wait()
    assert finished.code != 0
    assert "error: process 1 is out of memory, and where processes share exp" in finished.stdout


def test_a_model_that_is_only_used_shares_no_experts(trained: Path) -> None:
    """Also where several processes share the sentences, as with fairseq-generate."""
    asked = {"moe_expert_parallel_size": 2}
    state = checkpoint_utils.load_checkpoint_to_cpu(str(trained), asked)
    assert state["cfg"]["model"].moe_expert_parallel_size == 1


def hung(data: Path, folder: Path, prepare: Callable[[int], None]) -> command.Running:
    """A training that has saved and whose first process waits for the second one."""
    options = [*SHARED, *LONG, "--save-interval-updates", 5]
    running = command.start(2, data, folder, *options, prepare=prepare)
    wait_for(running, lambda: (folder / "checkpoint_last.pt").exists())
    os.kill(running.processes[1], signal.SIGSTOP)
    time.sleep(1)
    return running


def patient(seconds: float) -> Callable[[int], None]:
    def prepare(rank: int) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has none
        watch._PATIENCE = seconds

    return prepare


@pytest.mark.parametrize(
    ("numbers", "patience", "why"),
    [
        ([signal.SIGTERM] * 2, 1000, "a second SIGTERM"),
        pytest.param([signal.SIGINT] * 2, 1000, "a second Ctrl-C", marks=slow),
        pytest.param(
            [signal.SIGTERM], 2, "told by SIGTERM, and then 2 s without an update", marks=slow
        ),
    ],
)
def test_a_stop_is_obeyed(
    data: Path, tmp_path: Path, tally: Tally, numbers: list[int], patience: float, why: str
) -> None:
    """Whatever the process waits for: here another one that was halted."""
    running = hung(data, tmp_path, patient(patience))
    first, halted = running.processes
    try:
        for number in numbers:
            os.kill(first, number)
            time.sleep(1)
        end = time.monotonic() + LIMIT
        while not (ended := os.waitpid(first, os.WNOHANG))[0]:
            assert time.monotonic() < end, "still running"
            time.sleep(0.1)
    finally:
        os.killpg(first, signal.SIGKILL)
        os.waitpid(halted, 0)
    assert os.waitstatus_to_exitcode(ended[1]) == 128 + numbers[0]
    saved = updates(tmp_path / "checkpoint_last.pt")
    what = f"{tmp_path} has what was saved after update {saved:,}, the same command goes on there"
    assert f"error: {why}: ended at once; {what}" in running.output.read_text()
    tally(faults=1)


def without_shared_memory(rank: int) -> None:
    """A /dev/shm of 64 KiB, for this process alone, as a container has too little."""
    libc = ctypes.CDLL(None, use_errno=True)
    private, new_mounts = 0x44000, 0x20000
    if libc.unshare(new_mounts) or libc.mount(b"none", b"/", None, private, None):
        os._exit(77)
    os._exit(77) if libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"size=64k") else None


@slow
def test_no_room_in_shared_memory(data: Path, tmp_path: Path, tally: Tally) -> None:
    workers = ["--num-workers", 2, "--batch-size", 1]
    finished = command.start(1, data, tmp_path, *workers, prepare=without_shared_memory).wait()
    if finished.code == 77:
        pytest.skip("needs the right to mount")
    said = only_error(finished)
    assert "could not hand over a batch" in said and "No space left" in said
    assert "give --num-workers 0" in said and "docker run --shm-size" in said
    shared_memory.note().unlink(missing_ok=True)  # of the tests of this process alone
    tally(faults=1)


@slow
def test_a_worker_is_killed(data: Path, tmp_path: Path, tally: Tally) -> None:
    options = ["--num-workers", 1, "--batch-size", 1, *LONG]
    running = command.start(1, data, tmp_path, *options)
    [training] = running.processes
    wait_for(running, lambda: "Start iterating" in running.output.read_text())
    wait_for(running, lambda: len(of_group(training)) > 1)
    for worker in set(of_group(training)) - {training}:
        os.kill(worker, signal.SIGKILL)
    said = only_error(running.wait())
    assert said.startswith("a process that prepares batches (--num-workers) was killed")
    tally(faults=1)
