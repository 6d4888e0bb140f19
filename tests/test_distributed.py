"""Two processes on the CPU, each with a replica of the model and a share of the batches."""

from pathlib import Path

import pytest
import torch

import nmt_moe.plugin  # noqa: F401 (makes the options of SGD in a checkpoint loadable)
from tests.commands import BIN, PLUGIN, TINY, TRAINING, run
from tests.parallel import command

# Without noise, so that only the sum of the gradients decides; one update.
PLAIN = [
    *("--dropout", 0, "--moe-gating", "top_k"),
    *("--moe-importance-weight", 0, "--moe-load-weight", 0),
    *("--optimizer", "sgd", "--lr", 1, "--clip-norm", 0, "--max-update", 1, "--log-interval", 1),
]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)["model"]


def test_two_processes_take_the_step_of_one_with_both_batches(data, tmp_path):
    both = command.train(2, data, tmp_path / "two", *PLAIN)
    alone = command.train(1, data, tmp_path / "one", *PLAIN, "--update-freq", 2)

    two, one = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert two.keys() == one.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=1e-5, msg=name)

    [log], [expected] = both.logs("train"), alone.logs("train")
    assert float(log["train_bsz"]) == 40 and float(log["train_gnorm"]) > 0.1
    for name, value in expected.items():
        if name.startswith("train_moe") or name in ("train_loss", "train_wpb", "train_gnorm"):
            assert float(log[name]) == pytest.approx(float(value), abs=2e-3), name
    for name in ("valid_loss", "valid_moe_encoder_2_load_cv", "valid_moe_decoder_1_load_max"):
        got, want = both.logs("valid")[0][name], alone.logs("valid")[0][name]
        assert float(got) == pytest.approx(float(want), abs=2e-3), name


@pytest.mark.slow
def test_noisy_gates_and_adam_resume_in_two_processes(data, tmp_path):
    """Replicas stay equal: fairseq compares their gradients' norms at every update."""
    launch = ["--standalone", "--nproc_per_node", 2, BIN / "fairseq-train"]
    where = [data, "--user-dir", PLUGIN, "--save-dir", tmp_path]
    run("torchrun", *launch, *where, *TINY, *TRAINING, "--max-update", 3)
    command.train(2, data, tmp_path, "--max-update", 6)
    state = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)
    assert state["optimizer_history"][-1]["num_updates"] == 6
