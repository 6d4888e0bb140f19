"""``--optimizer moe_adam``, as a user types it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fairseq.optim import FP16Optimizer, build_optimizer
from omegaconf import OmegaConf
from torch import nn

from nmt_moe.common.errors import UserError
from nmt_moe.optim.fairseq_adam import FairseqMoEAdam, FairseqMoEAdamConfig
from tests.commands import train

MOE_ADAM = ["--optimizer", "moe_adam", "--batch-size", 16, "--weight-decay", 0.01]


def config(**options: Any) -> Any:
    cfg = OmegaConf.structured(FairseqMoEAdamConfig(lr=[0.5], **options))
    cfg._name = "moe_adam"
    return cfg


def build(**options: Any) -> FairseqMoEAdam:
    experts, dense = nn.Parameter(torch.ones(2, 3, 4)), nn.Parameter(torch.ones(3))
    experts.param_group = "experts"
    return build_optimizer(config(**options), [experts, dense])


def load(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)


def assert_same(got: Any, want: Any) -> None:
    """Two nested states, to the last bit."""
    if isinstance(want, dict):
        assert got.keys() == want.keys()
        for name in want:
            assert_same(got[name], want[name])
    else:
        assert torch.equal(got, want) if torch.is_tensor(want) else got == want


def test_options_reach_the_optimizer():
    (group,) = build().param_groups
    defaults = {"lr": 0.5, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    defaults |= {"plain": False, "update_unused": False}
    assert {name: group[name] for name in defaults} == defaults
    given = {"adam_betas": "[0, 0.5]", "adam_eps": 1e-3, "weight_decay": 0.1}
    given |= {"moe_adam_plain": True, "moe_adam_update_unused": True}
    (group,) = build(**given).param_groups
    want = {"betas": (0.0, 0.5), "eps": 1e-3, "weight_decay": 0.1}
    want |= {"plain": True, "update_unused": True}
    assert {name: group[name] for name in want} == want


@pytest.mark.parametrize(
    "option, value",
    [
        *(("--adam-betas", text) for text in ("(0.9, 1)", "(-0.1, 0.9)", "0.9", "a b", "(1,2,3)")),
        *(("--adam-betas", text) for text in ("(0.9, nan)", "", "('a', 'b')")),
        *(("--adam-eps", eps) for eps in (0.0, -1e-8, float("nan"))),
        *(("--weight-decay", decay) for decay in (-0.1, float("nan"))),
    ],
)
def test_an_option_out_of_its_range_is_named(option, value):
    with pytest.raises(UserError, match=f"^{option} must be") as error:
        build(**{option[2:].replace("-", "_"): value})
    assert "\n" not in str(error.value)


def test_flattened_parameters_are_refused(monkeypatch):
    """As ``--fp16`` makes them, which needs a GPU."""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    cfg = SimpleNamespace(common=SimpleNamespace(fp16_no_flatten_grads=False), optimizer=config())
    params = [nn.Parameter(torch.ones(2, 3, 4).half()), nn.Parameter(torch.ones(3).half())]
    with pytest.raises(UserError, match="add --fp16-no-flatten-grads$"):
        FP16Optimizer.build_optimizer(cfg, params)


def stepped(**options: Any) -> FairseqMoEAdam:
    optimizer = build(**options)
    for param in optimizer.params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    return optimizer


def test_options_of_this_training_count_and_the_saved_rate():
    state = stepped(weight_decay=0.1).state_dict()
    state["param_groups"][0]["lr"] = 0.25
    optimizer = build(weight_decay=0.2, adam_betas="(0.5, 0.5)", moe_adam_update_unused=True)
    optimizer.load_state_dict(state, {"eps": 1e-4})
    (group,) = optimizer.param_groups
    want = {"lr": 0.25, "betas": (0.5, 0.5), "eps": 1e-4, "weight_decay": 0.2}
    want |= {"update_unused": True}
    assert {name: group[name] for name in want} == want


@pytest.mark.parametrize("plain", [False, True])
def test_state_of_another_kind_is_refused(plain):
    saved = stepped(moe_adam_plain=not plain).state_dict()
    what_to_do = "leave it out here" if plain else "add it here"
    optimizer = build(moe_adam_plain=plain)
    with pytest.raises(UserError, match=what_to_do) as error:
        optimizer.load_state_dict(saved)
    assert "--moe-adam-plain" in str(error.value) and "\n" not in str(error.value)
    saved = torch.optim.Adam(list(optimizer.params)).state_dict()
    with pytest.raises(UserError, match="not of --optimizer moe_adam"):
        optimizer.load_state_dict(saved)


def test_a_training_lowers_the_loss_and_keeps_little_state(data, tmp_path):
    finished = train(data, tmp_path, *MOE_ADAM, "--max-update", 40)
    losses = [float(log["nll_loss"]) for log in finished.logs("train_inner")]
    assert losses[-1] < losses[0]
    states = load(tmp_path)["last_optimizer_state"]["state"].values()
    experts = [state for state in states if "row" in state]
    assert len(experts) == 4 and len(states) > 10  # two layers of w_in and w_out
    for state in experts:
        assert state.keys() == {"row", "column", "updates"}
        assert state["row"].shape == state["column"].shape == (4, 16)
        assert 0 < state["updates"].min() <= state["updates"].max() <= 40


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--moe-adam-plain"],
        ["--moe-adam-update-unused", "--moe-k", 1],
        ["--memory-efficient-bf16"],
    ],
)
def test_a_training_that_was_stopped_goes_on_bit_by_bit(data, options, tmp_path):
    """Stopped within an epoch of 13 updates, with dropout and gating noise."""
    options = [*MOE_ADAM, *options, "--dropout", 0.2]
    straight = train(data, tmp_path / "straight", *options, "--max-update", 40)
    for updates in (20, 40):
        train(data, tmp_path / "stopped", *options, "--max-update", updates)
    got, want = load(tmp_path / "stopped"), load(tmp_path / "straight")
    for part in ("model", "last_optimizer_state"):
        assert_same(got[part], want[part])
    for state in want["last_optimizer_state"]["state"].values():
        assert ("remainder" in state) == ("--memory-efficient-bf16" in options)
        for name, leaf in state.items():
            assert leaf.dtype == (torch.int16 if name == "remainder" else torch.float32)
        assert ("row" in state) <= ("--moe-adam-plain" not in options)
    losses = [float(log["nll_loss"]) for log in straight.logs("train_inner")]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_training_in_bfloat16(data, tmp_path):
    """It resumes, though not bit by bit with any optimizer: fairseq saves no float32 weights."""
    losses = []
    for updates in (10, 20):
        finished = train(data, tmp_path, *MOE_ADAM, "--bf16", "--max-update", updates)
        losses.append(float(finished.logs("train_inner")[-1]["nll_loss"]))
    assert losses[1] < losses[0]
    state = load(tmp_path)["last_optimizer_state"]["state"]
    assert sum("row" in own for own in state.values()) == 4
    assert all(leaf.dtype == torch.float32 for own in state.values() for leaf in own.values())


@pytest.mark.slow
def test_a_user_reads_one_line_about_state_of_another_kind(data, tmp_path):
    def resume(*options: object) -> str:
        return train(data, tmp_path, *options, "--max-update", 4, fails=True).error()

    train(data, tmp_path, *MOE_ADAM, "--bf16", "--max-update", 2)
    assert "with new optimizer state (--reset-optimizer)" in resume(
        *MOE_ADAM, "--bf16", "--moe-adam-plain"
    )
    assert "Optimizer does not match" in resume(*MOE_ADAM)
    train(
        data,
        tmp_path,
        *MOE_ADAM,
        "--bf16",
        "--max-update",
        4,
        "--moe-adam-plain",
        "--reset-optimizer",
    )
    assert resume(*MOE_ADAM, "--adam-betas", "(0.9)", "--reset-optimizer").startswith(
        "--adam-betas"
    )
