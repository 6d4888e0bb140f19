"""Averaged checkpoints: the mean itself, what is kept beside it, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils

import nmt_moe.plugin  # noqa: F401 (registers the model)
from nmt_moe.checkpoint.__main__ import main
from nmt_moe.checkpoint.average import average, last
from nmt_moe.checkpoint.convert import split
from nmt_moe.common.errors import UserError
from tests.checkpoint.test_parts import load, refused, whole_state
from tests.commands import PLUGIN, run, train

SHARED = ("decoder.embedding.weight", "decoder.output.weight")


def state(seed: int, updates: int) -> dict[str, Any]:
    """A checkpoint of the same model as all others, with weights of its own."""
    made = whole_state(updates)
    torch.manual_seed(seed)
    model = {
        "encoder.weight": torch.randn(5, 7),
        "encoder.half": torch.randn(3, 2).half(),
        "encoder.moe.experts.w_in": torch.randn(4, 3, 5).bfloat16(),
        "encoder.across": torch.randn(7, 5).t(),
        "encoder.scalar": torch.randn(()),
        "encoder.count": torch.tensor([updates, seed]),
        "encoder.none": torch.zeros(0, 3),
        SHARED[0]: torch.randn(6, 4),
    }
    model[SHARED[1]] = model[SHARED[0]]
    return made | {"model": model}


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Three, the newest in the middle."""
    names = []
    for seed, updates in enumerate((10, 30, 20)):
        names.append(str(tmp_path / f"{seed}.pt"))
        torch.save(state(seed, updates), names[-1])
    return names


def test_it_is_the_mean_in_64_bits_rounded_once(files, tmp_path, monkeypatch):
    monkeypatch.setattr("nmt_moe.checkpoint.average._CHUNK", 8)  # several pieces of a weight
    out = str(tmp_path / "new" / "mean.pt")
    average(files, out)
    models, found = [load(file)["model"] for file in files], load(out)["model"]
    assert found.keys() == models[0].keys()
    for name, weight in found.items():
        if weight.is_floating_point():
            mean = torch.stack([model[name].double() for model in models]).mean(0)
            dtype = torch.promote_types(models[0][name].dtype, torch.float32)
            assert torch.equal(weight, mean.to(dtype)), name
    assert found["encoder.count"].tolist() == [30, 1]  # the newest's
    assert found[SHARED[0]].data_ptr() == found[SHARED[1]].data_ptr()
    assert found[SHARED[0]].data_ptr() != found["encoder.weight"].data_ptr()


def test_all_else_is_the_newest_without_the_optimizer(files, tmp_path):
    out = str(tmp_path / "mean.pt")
    average(files, out)
    newest, found = load(files[1]), load(out)
    assert found.keys() == newest.keys() - {"last_optimizer_state"}
    for key in found.keys() - {"model"}:
        assert found[key] == newest[key]
    assert not list(tmp_path.glob("*.tmp"))


def test_the_result_may_take_the_place_of_one_of_them(files, capsys):
    before = [load(file)["model"]["encoder.weight"].double() for file in files]
    assert f"error: there is {files[0]} already" in refused(
        capsys, "average", *files, "--out", files[0]
    )
    assert main(["average", *files, "--out", files[0], "--force"]) == 0
    mean = torch.stack(before).mean(0).float()
    assert torch.equal(load(files[0])["model"]["encoder.weight"], mean)


def changed(file: str, out: Path, **weights: torch.Tensor | None) -> str:
    """The same checkpoint with other weights, or without some."""
    made = load(file)
    made["model"] |= {name.replace("__", "."): weight for name, weight in weights.items()}
    made["model"] = {name: weight for name, weight in made["model"].items() if weight is not None}
    torch.save(made, out)
    return str(out)


def test_different_models_are_named_with_a_parameter(files, tmp_path, capsys):
    one, out = files[1], tmp_path / "out.pt"

    def error(**weights: torch.Tensor | None) -> str:
        other = changed(files[0], tmp_path / "other.pt", **weights)
        return refused(capsys, "average", one, other, "--out", out)

    other = tmp_path / "other.pt"
    assert f"{one} has encoder.weight, and {other} has not" in error(encoder__weight=None)
    assert f"{other} has encoder.more, and {one} has not" in error(encoder__more=torch.ones(1))
    text = error(encoder__weight=torch.ones(5, 8))
    assert f"encoder.weight is [5, 7] float32 in {one}, [5, 8] float32 in {other}: these" in text
    assert "[5, 7] float64 in" in error(encoder__weight=torch.ones(5, 7).double())
    assert not out.exists()


def test_parts_are_to_be_merged_first(tmp_path, capsys):
    torch.save(whole_state(), tmp_path / "whole.pt")
    parts = split(str(tmp_path / "whole.pt"), 2, str(tmp_path / "run" / "checkpoint_last"))
    out = tmp_path / "out.pt"
    merge = "is a part of a checkpoint: make the parts one file (nmt-moe checkpoint merge"
    assert f"{parts[0]} {merge}" in refused(capsys, "average", *parts, "--out", out)
    folder = str(tmp_path / "run")
    assert f"{parts[0]} {merge}" in refused(capsys, "average", "--last", 2, folder, "--out", out)


def test_the_last_by_updates(tmp_path, capsys):
    names = {
        "checkpoint1.pt": 90,  # the end of an epoch
        "checkpoint_1_90.pt": 90,  # the same again
        "checkpoint_2_100.pt": 100,
        "checkpoint_10_1000.pt": 1000,
        "checkpoint_last.pt": 1010,
        "checkpoint_best.pt": 2000,  # no other than one of these
        "checkpoint_average.pt": 3000,
    }
    for seed, (name, updates) in enumerate(names.items()):
        torch.save(state(seed, updates), tmp_path / name)

    def found(number: int) -> list[str]:
        return [Path(file).name for file in last(str(tmp_path), number)]

    assert found(2) == ["checkpoint_last.pt", "checkpoint_10_1000.pt"]
    everything = ["checkpoint_last.pt", "checkpoint_10_1000.pt", "checkpoint_2_100.pt"]
    assert found(3) == everything
    assert found(4) == found(99) == [*everything, "checkpoint_1_90.pt"]

    out = tmp_path / "out" / "mean.pt"
    assert main(["average", "--last", "2", str(tmp_path), "--out", str(out)]) == 0
    two = [load(tmp_path / name)["model"]["encoder.weight"].double() for name in everything[:2]]
    assert torch.equal(load(out)["model"]["encoder.weight"], torch.stack(two).mean(0).float())
    said = capsys.readouterr()
    assert f"{out}: the mean of 2: {tmp_path / everything[0]}, " in said.out and not said.err
    assert main(["average", "--last", "5", str(tmp_path), "--out", str(out), "--force"]) == 0
    message = f"{tmp_path} has no more than 4 of the 5 checkpoints that were asked for\n"
    assert capsys.readouterr().err == message


def test_a_last_that_means_nothing_is_refused(files, tmp_path, capsys):
    out = ["--out", tmp_path / "out.pt"]
    assert "at least 1" in refused(capsys, "average", "--last", 0, tmp_path, *out)
    assert "one folder" in refused(capsys, "average", "--last", 2, *files, *out)
    assert "0.pt is no folder" in refused(capsys, "average", "--last", 2, files[0], *out)
    with pytest.raises(UserError, match="holds no checkpoint of a training"):
        last(str(tmp_path), 1)


@pytest.mark.slow
def test_generate_opens_the_average_of_a_training(data, tmp_path):
    save_dir = tmp_path / "run"
    train(data, save_dir, "--max-update", 30, "--save-interval-updates", 7)
    out = tmp_path / "mean.pt"
    command = ["-m", "nmt_moe.checkpoint", "average", "--last", 3, save_dir, "--out", out]
    run("python", *command)
    names = ("checkpoint_last.pt", "checkpoint_3_28.pt", "checkpoint_3_21.pt")
    weights = [load(save_dir / name)["model"] for name in names]
    [model], _ = checkpoint_utils.load_model_ensemble([str(out)])
    for name, weight in model.state_dict().items():
        mean = torch.stack([one[name].double() for one in weights]).mean(0)
        assert torch.equal(weight, mean.to(weight.dtype)), name
    options = ["--user-dir", PLUGIN, "--path", out, "--cpu", "--required-batch-size-multiple", 1]
    generated = run("fairseq-generate", data, *options).stdout
    assert generated.count("\nH-") == 20


@pytest.mark.parametrize("half", [False, True])
def test_the_moving_average_of_a_training(data, tmp_path, half):
    """Of every weight, once in an update: of experts, and of a matrix with two names."""
    run_dir, decay = tmp_path / "run", 0.7
    options = ["--max-update", 6, "--save-interval-updates", 1, "--share-all-embeddings"]
    options += ["--store-ema", "--ema-decay", decay, "--optimizer", "moe_adam"]
    options += ["--memory-efficient-bf16", "--ema-fp32"] if half else []
    train(data, run_dir, *options)
    steps = [load(run_dir / f"checkpoint_1_{update}.pt") for update in range(1, 7)]
    out = tmp_path / "average.pt"
    main(["average", "--ema", str(run_dir / "checkpoint_last.pt"), "--out", str(out)])
    found, before = load(out), tmp_path / "first.pt"
    main(["average", "--ema", str(run_dir / "checkpoint_1_1.pt"), "--out", str(before)])
    right = {name: x.double() for name, x in load(before)["model"].items()}
    for step in steps[1:]:
        for name, x in step["model"].items():
            right[name] = decay * right[name] + (1 - decay) * x.double()
    assert any("experts" in name for name in right) and "ema" not in found["extra_state"]
    for name, x in found["model"].items():
        torch.testing.assert_close(x.double(), right[name], rtol=1e-5, atol=1e-6, msg=name)
        assert x.is_floating_point() and x.dtype == torch.float32
    generated = run(
        "fairseq-generate", data, "--user-dir", PLUGIN, "--path", out, "--cpu", "--batch-size", 7
    )
    assert generated.stdout.count("\nH-") == 20


def test_a_checkpoint_without_a_moving_average(files, tmp_path, capsys):
    text = f"{files[0]} has no moving average: train with --store-ema, or leave out --ema"
    assert text in refused(capsys, "average", "--ema", files[0], "--out", tmp_path / "out.pt")
