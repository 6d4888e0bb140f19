"""Several processes, machines and SLURM: the launchers as a user calls them."""

import os
import socket
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from nmt_moe.common.errors import UserError
from nmt_moe.fairseq_fixes.training_options import configure
from nmt_moe.moe.experts import Experts, draw_experts
from tests.commands import PLUGIN, TINY, TRAINING
from tests.recipes import ROOT, environment, error, run
from tests.recipes import TRAINING as SMALL_TRAINING

EXPERTS = ["--optimizer", "moe_adam", "--max-update", 3]


def test_help_and_errors() -> None:
    assert run("launch.sh", "--help").stdout.startswith("usage: [GPUS=n]")
    assert "unknown option '--gpus'" in error(run("launch.sh", "--gpus", "2"))
    assert "no command 'fairseq-tain'" in error(run("launch.sh", "fairseq-tain"))
    assert "GPUS=two: give a whole number" in error(run("launch.sh", "fairseq-train", GPUS="two"))
    assert "NODES=2 needs NODE_RANK" in error(run("launch.sh", "fairseq-train", NODES=2))


OPTIONS = dict(
    optimizer="moe_adam", ddp_backend="pytorch_ddp", no_save_optimizer_state=False,
    store_ema=False, amp=False, criterion="cross_entropy", write_checkpoints_asynchronously=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "needed"),
    [
        (dict(optimizer="adam"), "--optimizer moe_adam"),
        (dict(ddp_backend="slowmo"), "--ddp-backend pytorch_ddp or legacy_ddp"),
        (dict(no_save_optimizer_state=True), "a checkpoint with the optimizer's state"),
        (dict(store_ema=True), "no --store-ema"),
        (dict(amp=True), "no --amp"),
        (dict(use_bmuf=True), "no --use-bmuf"),
        (dict(eval_bleu=True), "no --eval-bleu"),
    ],
)
def test_what_cannot_share_experts_does_not(monkeypatch, changed, needed) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone, shared = Namespace(**OPTIONS | changed), Namespace(**OPTIONS)
    configure(alone)
    configure(shared)
    assert alone.moe_expert_parallel_size == 1
    assert not hasattr(shared, "moe_expert_parallel_size")
    asked = Namespace(**OPTIONS | changed, moe_expert_parallel_size=2)
    with pytest.raises(UserError, match=f"--moe-expert-parallel-size 2 needs {needed};"):
        configure(asked)


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("cpu", [True, False])
def test_experts_are_drawn_where_and_as_they_are_trained(monkeypatch, narrow, cpu) -> None:
    """On a GPU in name: it is what torch is asked for."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    asked: list[object] = []
    target = "nmt_moe.fairseq_fixes.training_options.draw_experts"
    monkeypatch.setattr(target, lambda *place: asked.extend(place))
    configure(Namespace(**OPTIONS, cpu=cpu, memory_efficient_bf16=narrow))
    assert asked == (["cuda", torch.bfloat16] if narrow and not cpu else [])


def test_experts_are_drawn_as_was_said() -> None:
    draw_experts("meta", torch.bfloat16)
    try:
        weights = list(Experts(4, 6, 8, equal=True).parameters())
    finally:
        draw_experts()
    weights += Experts(4, 6, 8).parameters()
    kinds = [(weight.device.type, weight.dtype) for weight in weights]
    assert kinds == 2 * [("meta", torch.bfloat16)] + 2 * [("cpu", torch.float32)]


def arguments(data: Path, folder: Path) -> list[str]:
    options = [data, "--user-dir", PLUGIN, "--save-dir", folder, *TINY, *TRAINING, *EXPERTS]
    return [str(option) for option in options]


@pytest.mark.slow
def test_without_a_gpu_two_processes_share_the_experts(data: Path, tmp_path: Path) -> None:
    finished = run("launch.sh", "fairseq-train", *arguments(data, tmp_path))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    # 2 layers of 4 experts, two matrices of 16 x 16 each: half of them here
    assert "num. expert model params: 2048" in finished.stdout
    assert (tmp_path / "checkpoint_last.pt").is_file()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        return listening.getsockname()[1]


@pytest.mark.slow
def test_two_machines_share_a_recipe(tmp_path: Path) -> None:
    """Both on this one: the second waits for what the first prepares, and trains with it."""
    machines = {"NODES": 2, "GPUS": 1, "MASTER_ADDR": "localhost", "MASTER_PORT": free_port()}
    options = [*SMALL_TRAINING, "--max-update", "4", "--optimizer", "moe_adam"]
    started = [
        subprocess.Popen(
            [str(ROOT / "recipes" / "quickstart.sh"), *options],
            env=environment(RUN_DIR=tmp_path / "run", NODE_RANK=rank, **machines),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        for rank in (1, 0)
    ]
    second, first = (process.communicate(timeout=400)[0] for process in started)
    assert [process.returncode for process in started] == [0, 0], first + second
    log = (tmp_path / "run" / "training" / "train.log").read_text()
    assert "num. expert model params: 2048" in log
    assert "BLEU" in first and "== training" not in second


SRUN = """#!/bin/bash
# What srun does here: the command on each machine, with its number; the highest code.
shift 2
SLURM_NODEID=1 "$@" & SLURM_NODEID=0 "$@"; code=$?; wait $!; other=$?
exit $((code > other ? code : other))
"""


@pytest.mark.slow
def test_slurm(data: Path, tmp_path: Path) -> None:
    """The batch file with stand-ins for SLURM's own commands, which are not here."""
    # So many that they are still written when the first one has been read.
    hosts = "#!/bin/bash\necho localhost\nseq 100000\n"
    programs = {"srun": SRUN, "scontrol": hosts}
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_JOB_NODELIST": "localhost,other", "SLURM_JOB_NUM_NODES": 2, "SLURM_JOB_ID": 7}
    job |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GPUS": 1, "MASTER_PORT": free_port()}
    folder = tmp_path / "saved"
    finished = run("launch.sbatch", "fairseq-train", *arguments(data, folder), cwd=ROOT, **job)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "num. expert model params: 2048" in finished.stdout
    assert (folder / "checkpoint_last.pt").is_file()
