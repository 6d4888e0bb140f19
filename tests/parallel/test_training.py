"""Trainings whose experts are spread over processes, against one process with all sentences."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.logging import metrics

from nmt_moe.moe.mesh import training_mesh
from tests.parallel.processes import run_in
from tests.parallel.trainer import batch, configuration, make_trainer, part_of, sentence_pairs
from tests.test_training import flat

EIGHT = dict(moe_experts=8)
GATINGS: dict[str, dict[str, Any]] = {
    "noisy": EIGHT,
    "noisy in groups": EIGHT | dict(moe_groups=4),
    "balanced": EIGHT | dict(moe_gating="strictly_balanced"),
    "balanced in groups": EIGHT | dict(moe_gating="strictly_balanced", moe_groups=4),
    "recomputed": EIGHT | dict(moe_recompute=True),
}
SPLITS = {1: [11], 2: [7, 4], 4: [5, 0, 2, 4]}  # 0: a batch of padding
LEGACY = "legacy_ddp"
slow = pytest.mark.slow


def gradients(cfg: Any, sizes: list[int], team: int, ddp_backend: str, dtype: torch.dtype):
    """One update without effect, and the gradient that it had; one batch of validation."""
    trainer = make_trainer(cfg, team, ddp_backend, dtype)
    sample = batch(part_of(sentence_pairs(sum(sizes)), sizes))
    trainer.train_step([sample])
    losses = trainer.criterion.losses
    training_loss = losses[0] if losses and sample else torch.zeros(())

    mesh = training_mesh()
    found = {}
    for name, parameter in trainer.get_model().named_parameters():
        own = slice(None)
        if mesh is not None and ".experts." in name:
            own = mesh.own(8)
        found[name] = own, parameter.grad.clone()
    norm, optimizer = torch.zeros(()), trainer.optimizer
    if dtype == torch.float32:
        norm = optimizer.clip_grad_norm(0.0)
        torch.testing.assert_close(optimizer.clip_grad_norm(float(norm) / 2), norm)
        for name, parameter in trainer.get_model().named_parameters():
            torch.testing.assert_close(parameter.grad, found[name][1] / 2, rtol=1e-5, atol=1e-9)
    trainer.valid_step(sample)  # not everyone has as many tokens, or any
    return {
        "training loss": training_loss,
        "validation loss": losses[-1] if losses and sample else torch.zeros(()),
        "gradients": found,
        "norm": norm,
        "shared": mesh is not None,
    }


def compare_gradients(
    options: dict, processes: int, team: int, dtype: torch.dtype, folder: Path, ddp_backend=LEGACY
) -> None:
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5

    def close(got, want, message: str) -> None:
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance, msg=message)

    cfg, sizes = configuration("--lr", 0, "--clip-norm", 0, **options), SPLITS[processes]
    [alone] = run_in(1, folder / "one", gradients, cfg, SPLITS[1], 0, LEGACY, dtype)
    arguments = cfg, sizes, team, ddp_backend, dtype
    parts = run_in(processes, folder / "several", gradients, *arguments)
    for loss in ("training loss", "validation loss"):
        close(sum(part[loss] for part in parts), alone[loss], loss)
    if dtype == torch.float64:
        assert alone["training loss"] > alone["validation loss"] > 1
    assert not alone["shared"]
    for part in parts:
        assert part["shared"]
        assert part["gradients"].keys() == alone["gradients"].keys()
        for name, (own, gradient) in part["gradients"].items():
            want = alone["gradients"][name][1][own]
            close(gradient, want, name)
        torch.testing.assert_close(part["norm"], alone["norm"], rtol=2e-6, atol=0)
    # Nothing is compared with zeros alone.
    for name, (_, gradient) in alone["gradients"].items():
        assert gradient.abs().max() > 1e-6, name


QUICK = [("noisy", 4, 4), ("balanced in groups", 2, 2), ("noisy in groups", 4, 2)]
OTHERS = [
    (gating, processes, team)
    for gating in GATINGS
    for processes, team in [(2, 2), (4, 4), (4, 2)]
    if (gating, processes, team) not in QUICK
]


@pytest.mark.parametrize(
    ("gating", "processes", "team"), QUICK + [pytest.param(*case, marks=slow) for case in OTHERS]
)
def test_the_gradient_is_that_of_one_process(gating, processes, team, tmp_path):
    """Of every parameter, with its norm; and the losses in training and validation."""
    compare_gradients(GATINGS[gating], processes, team, torch.float64, tmp_path)


@pytest.mark.parametrize(
    ("gating", "team"),
    [("noisy", 2), *(pytest.param(gating, 4, marks=slow) for gating in GATINGS)],
)
def test_the_gradient_and_its_norm_in_single_precision(gating, team, tmp_path):
    """With the criterion itself."""
    compare_gradients(GATINGS[gating], 4, team, torch.float32, tmp_path)


@pytest.mark.parametrize("team", [pytest.param(4, marks=slow), 2])
def test_the_gradient_with_pytorchs_data_parallelism(team, tmp_path):
    compare_gradients(GATINGS["noisy"], 4, team, torch.float64, tmp_path, "pytorch_ddp")


def train(cfg: Any, sizes: list[list[int]], team: int):
    """20 updates; what the first process would save."""
    trainer = make_trainer(cfg, team, dtype=torch.float64)
    norms = []
    for update in range(20):
        split = sizes[update % len(sizes)]
        sample = batch(part_of(sentence_pairs(sum(split), seed=update % 5), split))
        with metrics.aggregate() as logged:
            trainer.train_step([sample])
        norms.append(float(logged["gnorm"].avg))
    assert trainer.get_num_updates() == 20
    trainer.consolidate_optimizer()
    if not trainer.is_data_parallel_master:
        return None
    return {
        "weights": trainer.model.state_dict(),
        "state": trainer.optimizer.state_dict()["state"],
        "norms": norms,
    }


@pytest.mark.parametrize(
    ("gating", "processes", "team"),
    [
        ("noisy", 2, 2),
        pytest.param("noisy", 4, 2, marks=slow),
        pytest.param("noisy in groups", 4, 4, marks=slow),
        pytest.param("balanced", 4, 2, marks=slow),
        pytest.param("balanced in groups", 2, 2, marks=slow),
        pytest.param("recomputed", 4, 4, marks=slow),
    ],
)
def test_twenty_updates_leave_the_weights_of_one_process(gating, processes, team, tmp_path):
    """And the optimizer's state; with clipping. A choice of experts would flip in float32."""
    splits = {2: [[7, 4], [1, 10], [11, 0]], 4: [[5, 0, 2, 4], [1, 1, 1, 8]]}[processes]
    # A higher rate lets rounding grow, until equal scores are told apart by it.
    cfg = configuration("--lr", 0.002, "--clip-norm", 0.5, **GATINGS[gating])
    [alone] = run_in(1, tmp_path / "one", train, cfg, [[11]], 0)
    first, *others = run_in(processes, tmp_path / "several", train, cfg, splits, team)
    assert others == [None] * (processes - 1)
    assert max(alone["norms"]) > 0.5  # there was something to clip
    assert first["norms"] == pytest.approx(alone["norms"], rel=1e-6)
    got, want = (flat({"weights": run["weights"], "state": run["state"]}) for run in (first, alone))
    assert got.keys() == want.keys()
    for name, leaf in want.items():
        torch.testing.assert_close(got[name], leaf, rtol=1e-6, atol=1e-6, msg=name)
