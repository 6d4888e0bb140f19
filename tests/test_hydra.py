"""``fairseq-hydra-train``: named architectures, and what ``fairseq-train`` gets from the plugin."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from nmt_moe.fairseq_fixes.sigterm import EXIT_CODE
from nmt_moe.models.architectures import config
from nmt_moe.runs.training_log import records
from tests import preloaded
from tests.commands import BIN, PLUGIN, TINY, Finished, run
from tests.recipes import ROOT

EXAMPLE = ["--config-dir", ROOT / "recipes/hydra", "--config-name", "translation"]
MODEL = {"dim": 16, "lstm_cells": 16, "moe_experts": 4, "moe_hidden_dim": 16, "encoder_layers": 1}
SMALL = [
    *(f"model.{name}={value}" for name, value in MODEL.items()),
    *(
        "common.cpu=true",
        "common.log_interval=10",
        "dataset.num_workers=0",
        "dataset.batch_size=20",
    ),
    *("optimization.lr=[0.02]", "checkpoint.no_epoch_checkpoints=true"),
]
# The same for fairseq-train.
OPTIONS = [
    *(
        *TINY,
        "--encoder-layers",
        1,
        "--encoder-bidirectional",
        "--optimizer",
        "moe_adam",
        "--clip-norm",
        1,
        "--cpu",
    ),
    *("--lr-scheduler", "warmup_hold_inverse_sqrt", "--lr", 0.02, "--num-workers", 0),
    *("--max-tokens", 4000, "--batch-size", 20, "--seed", 7, "--no-epoch-checkpoints"),
]


def command(data: Path, folder: Path, *words: str) -> list[object]:
    """The words of a small training of the example."""
    where = [f"task.data={data}", f"common.user_dir={PLUGIN}", f"hydra.run.dir={folder}"]
    return [*EXAMPLE, *where, *SMALL, *words]


def hydra(data: Path, folder: Path, *words: str, fails: bool = False) -> Finished:
    return run("fairseq-hydra-train", *command(data, folder, *words), fails=fails)


def state(folder: Path) -> dict:
    return torch.load(folder / "checkpoints/checkpoint_last.pt", weights_only=True)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return state(folder)["model"]


@pytest.fixture(scope="module")
def twice(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Finished]]:
    """Two seeds in one process, stopped in the second epoch, and gone on with."""
    folder = tmp_path_factory.mktemp("hydra")
    seeds = ["common.seed=1,7", "hydra.sweep.subdir=${common.seed}", "--multirun"]
    log = [
        f"common.tensorboard_logdir={folder}/${{common.seed}}/curves",
        "common.log_format=simple",
    ]
    stops = [f"optimization.max_update={updates}" for updates in (13, 25)]
    return folder, [hydra(data, folder, stop, *log, *seeds) for stop in stops]


@pytest.mark.slow
def test_a_job_that_was_stopped_equals_a_training_of_its_own(data, twice, tmp_path):
    """To the bit, though another seed was trained before it in the same process."""
    folder, _ = twice
    save = ["--save-dir", tmp_path / "checkpoints", "--max-update", 25]
    run("fairseq-train", data, "--user-dir", PLUGIN, *OPTIONS, *save)
    want, got = weights(tmp_path), weights(folder / "7")
    assert want.keys() == got.keys()
    assert all(torch.equal(got[name], want[name]) for name in want)
    assert not torch.equal(
        weights(folder / "1")["decoder.output.weight"], want["decoder.output.weight"]
    )


@pytest.mark.slow
def test_a_checkpoint_holds_the_options_of_its_architecture(data, twice):
    folder, _ = twice
    cfg = state(folder / "7")["cfg"]
    given = MODEL | {"encoder_bidirectional": True, "moe_expert_parallel_size": 1}
    assert cfg["model"] == vars(config("lstm_moe_tiny", given))
    assert cfg["dataset"]["required_batch_size_multiple"] == 1
    path = folder / "7/checkpoints/checkpoint_best.pt"
    options = ["--path", path, "--batch-size", 20, "--num-workers", 0, "--cpu"]
    ended = run("fairseq-generate", data, "--user-dir", PLUGIN, *options)
    assert "BLEU" in ended.stdout
    shown = run("nmt-moe", "checkpoint", "inspect", path).stdout
    assert "lstm_moe_tiny" in shown


@pytest.mark.slow
def test_each_job_has_its_own_log(twice):
    folder, ended = twice
    for seed in ("1", "7"):
        lines = (folder / seed / "hydra_train.log").read_text().splitlines()
        found = records(lines)
        assert [*found["train_inner"]] == [10, 20] and [*found["train"]] == [10, 13, 20, 25]
        events = [*(folder / seed / "curves/train_inner").iterdir()]
        assert len(events) == 2  # of the two commands
    printed = "".join(one.stdout + one.stderr for one in ended)
    assert printed.count("Warning") == 2  # fairseq's own, before it imports any plugin
    assert "error" not in printed.lower()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dataset.batch_sizee=3"], "there is no dataset.batch_sizee: did you mean batch_size"),
        (["model.moe_k=100"], "--moe-k 100 is more than --moe-experts 4: choose from 1 to 4"),
        (["task.data=/nowhere"], "/nowhere: No such file or directory"),
        *(
            pytest.param([word], message, marks=pytest.mark.slow)
            for word, message in {
                "+model.dimm=3": "there is no model.dimm of lstm_moe_tiny: did you mean dim",
                "model=lstm_moe_tinny": "no model named lstm_moe_tinny: did you mean lstm_moe_tiny",
                "model.moe_k=many": "model.moe_k=many: Value 'many' .* converted to Integer",
                "model.moe_gating=x": "moe_gating=x: Invalid value 'x', expected one of",
                "model=lstm_moe_lm_tiny": "there is no .*encoder_bidirectional: choose from",
                "moe_k": "Error parsing override 'moe_k'",
                "optimizer=null": "optimizer is missing: name one, such as optimizer=moe_adam",
                "+optimization.max_udpate=3": "no optimization.max_udpate: did you mean max_update",
                "optimization.lr=0.1": "optimization.lr.* not a ListConfig.*: give a list, such as",
                "model.dropout=abc": "model.dropout.*'abc' of type 'str' could not be converted",
                "~optimizer": "optimizer is missing: name one, such as optimizer=moe_adam",
            }.items()
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(data, tmp_path, words, message):
    ended = hydra(data, tmp_path, *words, fails=True)
    assert ended.code == 1
    assert re.search(message, ended.error()), ended.error()


@pytest.mark.slow
def test_jobs_that_would_share_a_folder_are_refused(data, tmp_path):
    words = ["common.seed=1,2", f"checkpoint.save_dir={tmp_path}/one", "optimization.max_update=1"]
    ended = hydra(data, tmp_path, *words, "--multirun", fails=True)
    assert f"checkpoint.save_dir {tmp_path}/one is that of a job before" in ended.error()
    assert "'common.seed=2'" in ended.stderr


@pytest.mark.slow
def test_a_configuration_that_hides_the_plugin(data, tmp_path):
    """In a file of its defaults: fairseq imports it later, as one that is not installed."""
    (tmp_path / "where.yaml").write_text(f"common:\n  user_dir: {PLUGIN}\n")
    model = "".join(f"  {name}: {value}\n" for name, value in MODEL.items())
    text = "defaults: [_self_, where]\nmodel:\n  _name: lstm_moe_tiny\n" + model
    text += f"task: {{_name: translation, data: {data}}}\noptimizer: {{_name: adam}}\n"
    text += "criterion: {_name: cross_entropy}\nlr_scheduler: {_name: fixed}\n"
    text += "common: {cpu: true}\ndataset: {batch_size: 20}\n"
    text += "optimization: {lr: [0.01], max_update: 1}\n"
    text += f"hydra: {{run: {{dir: {tmp_path}}}}}\n"
    text = text.replace("  dim: 16", "  encoder_embed_dim: 16")  # as lstm's configuration has it
    (tmp_path / "mine.yaml").write_text(text)
    words = ["--config-dir", tmp_path, "--config-name", "mine"]
    run("fairseq-hydra-train", *words)
    cfg = state(tmp_path)["cfg"]
    given = MODEL | {"moe_expert_parallel_size": 1}
    assert cfg["model"] == vars(config("lstm_moe_tiny", given))
    assert cfg["dataset"]["update_epoch_batch_itr"] is True
    ended = run("fairseq-hydra-train", *words, "+model.moe_k=100", fails=True)
    assert "--moe-k 100 is more than --moe-experts 4" in ended.error()


@pytest.mark.slow
def test_under_torchrun_two_processes_are_one_training(data, tmp_path):
    launch = ["--standalone", "--nproc_per_node", 2, BIN / "fairseq-hydra-train"]
    ended = run("torchrun", *launch, *command(data, tmp_path, "optimization.max_update=2"))
    assert ended.stdout.count("[fairseq_cli.train][INFO] - done training") == 1
    assert "training on 2 devices" in ended.stdout
    # Two layers of 4 experts, two matrices of 16 x 16 each: half of them in each process.
    assert "num. expert model params: 2048" in ended.stdout
    assert "bsz 40" in ended.stdout or '"train_bsz": "40"' in ended.stdout


@pytest.mark.slow
def test_sigterm_saves_and_the_same_command_goes_on(data, tmp_path):
    words = ["optimization.max_update=400", "common.log_interval=1", "common.seed=1,2"]
    program = preloaded.command(
        "fairseq-hydra-train", *command(data, tmp_path, *words, "--multirun")
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout
        for line in running.stdout:
            if '"num_updates": "150"' in line:
                running.send_signal(signal.SIGTERM)
                break
        rest = running.stdout.read()
    assert running.returncode == EXIT_CODE, rest
    [stopped] = re.findall(r"stopped by SIGTERM: saved after update (\d+)", rest)
    state = torch.load(next(tmp_path.rglob("checkpoint_last.pt")), weights_only=True)
    assert state["optimizer_history"][-1]["num_updates"] == int(stopped) < 400
