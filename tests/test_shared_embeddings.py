"""Models with shared embeddings in commands: trained, resumed, averaged, in parts, on processes."""

import json
from pathlib import Path

import pytest
import torch

from tests.commands import PLUGIN, run, train
from tests.test_expert_parallel import train_in
from tests.test_training import flat, load

ALL = "--share-all-embeddings"
DECODER = "--share-decoder-input-output-embed"
NAMES = ["encoder.embedding.weight", "decoder.embedding.weight", "decoder.output.words.weight"]


def checkpoint(*arguments: object) -> str:
    return run("python", "-m", "nmt_moe.checkpoint", *arguments).stdout


@pytest.fixture(scope="module")
def tied(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tied")
    options = ["--optimizer", "moe_adam", "--max-update", 20, "--save-interval-updates", 10]
    train(data, folder, ALL, *options)
    return folder


@pytest.mark.slow
def test_checkpoints_hold_one_matrix(data, tied, tmp_path):
    last, mean = tied / "checkpoint_last.pt", tmp_path / "mean.pt"
    checkpoint("average", "--last", 2, tied, "--out", mean)
    checkpoint("split", last, "--parts", 2, "--out", tmp_path / "part.pt")
    checkpoint("merge", tmp_path / "part.pt", "--out", tmp_path / "merged.pt")
    for file in (last, mean, tmp_path / "merged.pt", tmp_path / "part-rank-1.pt"):
        model = torch.load(file, weights_only=True)["model"]
        assert len({model[name].data_ptr() for name in NAMES}) == 1, file
    assert flat(load(tied)["model"]).keys() == flat(model).keys()
    sizes = ["dim=16", "lstm_cells=16", "moe_experts=4", "moe_hidden_dim=16"]
    changes = [f"--override={change}" for change in [*sizes, "share_all_embeddings=true"]]
    planned = ["--arch", "lstm_moe_tiny", "--vocabulary", 24, *changes, "--json"]
    figures = json.loads(run("python", "-m", "nmt_moe.plan", *planned).stdout)
    copied = torch.load(last, weights_only=True)  # as from a GPU
    copied["model"] = {name: weight.clone() for name, weight in copied["model"].items()}
    torch.save(copied, tmp_path / "copied.pt")
    for file in (last, tmp_path / "copied.pt"):
        inspected = json.loads(checkpoint("inspect", file, "--json"))
        assert inspected["parameters"] == figures["parameters"]
    options = ["--user-dir", PLUGIN, "--path", mean, "--cpu"]
    assert run("fairseq-generate", data, *options).stdout.count("\nH-") == 20


@pytest.mark.slow
def test_other_sharing_is_refused_in_a_line(data, tied, tmp_path):
    last = tied / "checkpoint_last.pt"
    for message, options in {
        f"architectures match: {ALL} is True there, False here": [],
        f"{last} was trained with {ALL} True, not False": [DECODER],
    }.items():
        wrong = train(data, tied, "--optimizer", "moe_adam", *options, fails=True).error()
        assert message in wrong, wrong
    train(data, tmp_path / "untied", "--max-update", 2)
    for start, options in ((tmp_path / "untied/checkpoint_last.pt", [ALL]), (last, [DECODER])):
        words = ["--finetune-from-model", start, *options]
        wrong = train(data, tmp_path / "new", *words, fails=True).error()
        assert f"{start} " in wrong and ALL in wrong, wrong


@pytest.mark.slow
def test_two_processes_do_as_one(data, tmp_path):
    """The gradient of the matrix is summed once; parts of it go on in one process."""
    for processes in (1, 2):
        train_in(processes, data, tmp_path / str(processes), "--max-update", 6, ALL)
    one, two = (flat(load(tmp_path / str(n))["model"]) for n in (1, 2))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-5)
    train_in(1, data, tmp_path / "2", "--max-update", 7, ALL)
