"""``torchrun ... fairseq-train`` with the experts spread over the processes."""

from pathlib import Path

import pytest
import torch

from tests.commands import BIN, PLUGIN, TINY, TRAINING, Finished, run, train
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


def train_in(processes: int, data: Path, save_dir: Path, *arguments: object, **more) -> Finished:
    """20 batches an epoch, 4 of them in an update."""
    options = [*PLAIN, "--update-freq", 4 // processes, *arguments]
    if processes == 1:
        return train(data, save_dir, *options, **more)
    launch = ["--standalone", "--nproc_per_node", processes, BIN / "fairseq-train"]
    where = [data, "--user-dir", PLUGIN, "--save-dir", save_dir]
    return run("torchrun", *launch, *where, *TINY, *TRAINING, *options, **more)


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
