"""``torchrun ... fairseq-train`` with the experts spread over the processes."""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils

from tests.commands import BIN, PLUGIN, TINY, TRAINING, Finished, run, train
from tests.parallel import command
from tests.test_generation import compare, generate
from tests.test_training import flat, load

# Without noise and balance losses a batch is the sum of its parts: one process that takes them
# one after the other (--update-freq) does the same update. 20 batches an epoch.
PLAIN = [
    *("--dropout", 0, "--moe-gating", "top_k", "--moe-experts", 8),
    *("--moe-importance-weight", 0, "--moe-load-weight", 0),
    *("--optimizer", "moe_adam", "--clip-norm", 0.5, "--batch-size", 10),
    *("--log-interval", 1),
]


def train_in(processes: int, data: Path, save_dir: Path, *arguments: object) -> Finished:
    """20 batches an epoch, 4 of them in an update."""
    options = [*PLAIN, "--update-freq", 4 // processes, *arguments]
    return command.train(processes, data, save_dir, *options)


def launch(processes: int, data: Path, save_dir: Path, *options: object) -> list[object]:
    """The arguments of torchrun."""
    start = ["--standalone", "--nproc_per_node", processes, BIN / "fairseq-train"]
    where = [data, "--user-dir", PLUGIN, "--save-dir", save_dir]
    return [*start, *where, *TINY, *TRAINING, *options]


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    """Three epochs in one process."""
    folder = tmp_path_factory.mktemp("alone")
    return train_in(1, data, folder, "--max-epoch", 3), folder


@pytest.mark.slow
def test_a_training_goes_from_four_processes_to_one_to_two(data, alone, tmp_path):
    losses = []
    for epoch, processes in enumerate([4, 1, 2], start=1):
        finished = train_in(processes, data, tmp_path, "--max-epoch", epoch)
        losses += finished.logs("train")
    expected = alone[0].logs("train")
    assert len(losses) == len(expected) == 3
    for got, want in zip(losses, expected, strict=True):
        for name in ("train_loss", "train_gnorm", "train_moe_encoder_2_importance_cv"):
            assert float(got[name]) == pytest.approx(float(want[name]), abs=1e-3), name
    stopped, whole = load(tmp_path), load(alone[1])
    for part in ("model", "last_optimizer_state"):
        got, want = flat(stopped[part]), flat(whole[part])
        assert got.keys() == want.keys()
        for name, leaf in want.items():
            if torch.is_tensor(leaf):
                torch.testing.assert_close(got[name], leaf, rtol=0, atol=1e-4, msg=name)
    assert stopped["cfg"]["model"]["moe_expert_parallel_size"] == 1

    checkpoint = Path("checkpoint_last.pt")
    compare(
        generate(data, tmp_path / checkpoint, beam=2, batch=7),
        generate(data, alone[1] / checkpoint, beam=2, batch=7),
    )


@pytest.mark.slow
def test_another_number_of_processes_goes_on_in_the_middle_of_an_epoch(data, alone, tmp_path):
    # 12 of 20 batches: more than the five of each of four processes, which begin with their fourth.
    train_in(1, data, tmp_path, "--max-update", 3)
    finished = train_in(4, data, tmp_path, "--max-epoch", 1)
    assert [line["train_num_updates"] for line in finished.logs("train")] == ["5"]
    [after], before = finished.logs("valid"), alone[0].logs("valid")[0]
    assert float(after["valid_loss"]) == pytest.approx(float(before["valid_loss"]), abs=1e-3)


def test_processes_that_run_out_of_batches_change_nothing(data, tmp_path):
    """19 batches: in the last update of an epoch one of two processes has none."""
    options = [*PLAIN, "--batch-size", 11, "--max-epoch", 1]
    several = command.train(2, data, tmp_path / "two", *options)
    alone = command.train(1, data, tmp_path / "one", *options, "--update-freq", 2)
    assert "num. expert model params: 0" in alone.stdout
    assert "num. expert model params: 4096" in several.stdout
    [got], [want] = several.logs("train"), alone.logs("train")
    for name in ("train_loss", "train_gnorm", "train_wpb", "train_num_updates"):
        assert float(got[name]) == pytest.approx(float(want[name]), abs=2e-3), name
    assert want["train_num_updates"] == "10"
    got, want = load(tmp_path / "two")["model"], load(tmp_path / "one")["model"]
    assert got.keys() == want.keys()
    for name, weight in want.items():
        torch.testing.assert_close(got[name], weight, rtol=0, atol=1e-5, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--bf16", "--memory-efficient-bf16"])
def test_bfloat16_trains_resumes_and_goes_on_in_one_process(data, tmp_path, flag):
    options = ["--optimizer", "moe_adam", "--lr", 0.02, flag, "--batch-size", 10]
    losses = []
    for processes, epoch in [(2, 3), (2, 4), (1, 5)]:
        more = ["--update-freq", 2 // processes, "--max-epoch", epoch]
        finished = command.train(processes, data, tmp_path, *options, *more)
        losses += [float(log["train_nll_loss"]) for log in finished.logs("train")]
    assert len(losses) == 5
    assert losses[2] < losses[0] - 0.4 and max(losses[3:]) < losses[2] + 0.1
    state = load(tmp_path)
    assert all(len(w) == 4 for name, w in state["model"].items() if ".experts." in name)


# What does not fit


@pytest.mark.slow
def test_a_number_of_processes_that_does_not_fit(data, tmp_path):
    """torchrun adds a traceback of its own to what each process says in one line."""
    options = ["--moe-expert-parallel-size", 3, "--max-update", 1]
    finished = run("torchrun", *launch(2, data, tmp_path / "new", *PLAIN, *options), fails=True)
    assert finished.code != 0
    lines = [line for line in finished.stderr.splitlines() if "error: " in line]
    messages = {line.partition("error: ")[2] for line in lines}
    assert 1 <= len(lines) <= 2 and len(messages) == 1  # the first to end ends the other
    assert "--moe-expert-parallel-size 3 does not divide the 2 processes" in messages.pop()
    before, _, after = finished.stderr.partition("Traceback")
    assert "error: " in before and "Traceback" not in after and "ChildFailedError" in after
    assert not list(tmp_path.glob("new/*.pt"))


@pytest.mark.slow
def test_another_optimizer_leaves_all_experts_in_each_process(data, tmp_path):
    """With a size it is refused, in any number of processes."""
    options = [*PLAIN, "--optimizer", "adam", "--max-update", 3]
    size = ["--moe-expert-parallel-size", 2]
    failed = train(data, tmp_path / "refused", *options, *size, fails=True)
    assert "--moe-expert-parallel-size 2 needs --optimizer moe_adam" in failed.error()
    assert not list(tmp_path.glob("refused/*"))

    finished = command.train(2, data, tmp_path / "all", *options)
    assert "num. expert model params: 0" in finished.stdout
    weights = load(tmp_path / "all")["model"]
    assert all(len(weight) == 8 for name, weight in weights.items() if ".experts." in name)


# Interruptions


def children(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in found.split()]


def wait_for(what: Callable[[], object], pause: float = 0.05) -> None:
    end = time.monotonic() + 200
    while not what():
        assert time.monotonic() < end
        time.sleep(pause)


@pytest.mark.slow
def test_a_killed_process_ends_the_command_and_its_checkpoint_goes_on(data, tmp_path):
    last = tmp_path / "checkpoint_last.pt"
    saves = ["--save-interval-updates", 3, "--keep-interval-updates", 1, "--max-epoch", 1000]
    arguments = launch(2, data, tmp_path, *PLAIN, *saves)
    with subprocess.Popen(
        [str(BIN / "torchrun"), *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as training:
        wait_for(last.exists)
        os.kill(children(training.pid)[1], signal.SIGKILL)
        _, printed = training.communicate(timeout=200)
    assert training.returncode != 0
    assert "Signal 9 (SIGKILL) received" in printed
    assert not list(tmp_path.glob("crash.pt"))
    done = load(tmp_path)["optimizer_history"][-1]["num_updates"]
    command.train(2, data, tmp_path, *PLAIN, "--max-update", done + 2)
    assert load(tmp_path)["optimizer_history"][-1]["num_updates"] == done + 2


@pytest.mark.slow
def test_a_training_killed_while_it_saves_leaves_a_whole_checkpoint(data, tmp_path):
    """6 times, and the next try goes on from it; updates are saved one by one.

    At a random moment; or as soon as there is a file that is not complete; or as soon as one
    is complete, which is when it is copied to the last one.
    """
    last, chance = tmp_path / "checkpoint_last.pt", random.Random(0)
    saves = ["--save-interval-updates", 1, "--keep-interval-updates", 1, "--max-epoch", 1000]
    options = [*PLAIN, *saves, "--disable-validation", "--moe-hidden-dim", 4096]  # 8 MiB
    updates, interrupted = [0], 0

    def incomplete() -> list[Path]:
        return list(tmp_path.glob("*.tmp"))

    def complete() -> set[str]:
        return {path.name for path in tmp_path.glob("checkpoint_*_*.pt")}

    for number in range(6):
        training = command.start(2, data, tmp_path, *options)
        before = last.stat().st_mtime_ns if last.exists() else 0
        try:
            wait_for(lambda: last.exists() and last.stat().st_mtime_ns > before)  # noqa: B023
            time.sleep(chance.random() / 4)
            there = complete()
            if number % 3:
                wait_for([incomplete, lambda: complete() - there][number % 3 - 1], pause=0)  # noqa: B023
        finally:
            training.kill()
        printed = training.output.read_text()
        assert "Traceback" not in printed, printed
        if updates[-1]:
            assert re.search(rf"Loaded checkpoint .* @ {updates[-1]} updates", printed), printed
        state = checkpoint_utils.load_checkpoint_to_cpu(str(last))
        updates.append(state["optimizer_history"][-1]["num_updates"])
        interrupted += len(incomplete())
        for path in incomplete():
            path.unlink()
    assert updates == sorted(set(updates))
    assert interrupted
