"""NaN and Inf stop a training before the update, by name, in every precision that a CPU has."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nmt_moe.common.errors import UserError
from nmt_moe.moe.experts import Experts
from nmt_moe.non_finite.search import Search
from nmt_moe.non_finite.tensors import all_finite
from nmt_moe.optim.moe_adam import _LARGE
from tests import elsewhere
from tests.models.build import SMALL
from tests.reliability.training import (
    BATCHES,
    PRECISIONS,
    in_gradient,
    in_loss,
    in_output,
    in_weight,
    make_trainer,
    once,
    state,
)

NAN, INF = math.nan, math.inf
EOS = 2  # a word of every sentence
EXPERTS = "feed_forwards.1.moe.experts"
FAULTS = {
    "lstm": (in_output("encoder.layers.1", NAN), "NaN in the output of encoder.layers.1"),
    "dense": (in_output("decoder.output", INF), "Inf in the output of decoder.output"),
    "expert": (
        in_output(f"decoder.{EXPERTS}", INF),
        f"Inf in the output of decoder.{EXPERTS}, expert 3",
    ),
    "gate": (
        in_weight("encoder.feed_forwards.2.moe.gate.w_gate", NAN),
        "NaN in the weights of encoder.feed_forwards.2.moe.gate.w_gate",
    ),
    "embedding": (
        in_weight("decoder.embedding.weight", INF, EOS),
        "Inf in the weights of decoder.embedding.weight",
    ),
    "expert's weight": (
        in_weight(f"decoder.{EXPERTS}.w_out", NAN, 2),
        f"NaN in the weights of decoder.{EXPERTS}.w_out, expert 2",
    ),
    "loss": (in_loss, "NaN in the loss"),
    "once": (
        once(in_output("encoder.layers.0", NAN)),
        "NaN or Inf in the gradient, but not when the batch was repeated",
    ),
    "gradient": (
        in_gradient("decoder.layers.1.lstm.weight_hh_l0", NAN),
        "NaN in the gradient of decoder.layers.1.lstm.weight_hh_l0",
    ),
    "expert's gradient": (
        in_gradient(f"decoder.{EXPERTS}.w_in", INF),
        f"Inf in the gradient of decoder.{EXPERTS}.w_in, expert 3",
    ),
}


def stopped(trainer, message, folder, tally, after=1):
    """What the error says; the weights and the optimizer's state must be as before."""
    before = state(trainer)
    with pytest.raises(UserError) as error:
        trainer.train_step(BATCHES[1:3])  # two batches for one update
    pairs = zip(before, state(trainer), strict=True)
    same = [torch.equal(old.nan_to_num(), new.nan_to_num()) for old, new in pairs]
    tally(faults=1, work=len(same), losses=same.count(False))
    assert all(same) and trainer.get_num_updates() == after
    assert str(error.value) == (
        f"{message}: stopped before update {after + 1}; the last good checkpoint is "
        f"{folder}/checkpoint_last.pt, of update {after}. Go on from there with a lower --lr, "
        "a longer warm-up or --clip-norm"
    )
    assert not list(folder.glob("crash*"))


# Where the values come from does not depend on the precision; what is compared and repeated does.
@pytest.mark.parametrize(
    ("precision", "fault"),
    [("fp32", fault) for fault in FAULTS]
    + [(p, f) for p in PRECISIONS if p != "fp32" for f in ("lstm", "loss", "once", "gradient")],
)
def test_training_stops_before_the_update(tmp_path, tally, precision, fault):
    trainer = make_trainer(tmp_path, *PRECISIONS[precision])
    spoil, message = FAULTS[fault]
    spoil(trainer.get_model())
    stopped(trainer, message, tmp_path, tally)


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_checkpoint_that_is_not_finite_is_not_named(tmp_path, tally, value):
    """Newer ones, as fairseq writes them where this package does not look at the weights."""
    trainer = make_trainer(tmp_path)
    poisoned = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)
    poisoned["model"][f"decoder.{EXPERTS}.w_in"][3].view(-1)[-1] = value
    for updates in (2, 3):
        poisoned["optimizer_history"][-1]["num_updates"] = updates
        torch.save(poisoned, tmp_path / f"checkpoint_1_{updates}.pt")
    spoil, message = FAULTS["lstm"]
    spoil(trainer.get_model())
    stopped(trainer, message, tmp_path, tally)


@pytest.mark.parametrize("value", [NAN, INF])
def test_experts_whose_gradients_are_scaled_in_the_update(tmp_path, tally, value):
    """Those of many numbers, whose norm comes from what the update needs as well."""
    hidden_dim = _LARGE // (SMALL["moe_experts"] * SMALL["dim"])
    trainer = make_trainer(tmp_path, "--moe-hidden-dim", hidden_dim)
    name = f"decoder.{EXPERTS}.w_out"
    weight = trainer.get_model().get_parameter(name)
    assert weight.numel() >= _LARGE
    in_gradient(name, value)(trainer.get_model())
    what = "NaN" if math.isnan(value) else "Inf"
    stopped(trainer, f"{what} in the gradient of {name}, expert 3", tmp_path, tally)


def test_an_update_pays_for_a_look_at_one_number(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.task.train_step(
        BATCHES[1], trainer.get_model(), trainer.get_criterion(), trainer.optimizer, 1
    )
    with Numbers() as without:
        trainer.optimizer.clip_grad_norm(1.0)
    with Numbers() as looked_at:
        trainer.clip_grad_norm(1.0)
    assert len(without.seen) > 1
    assert looked_at.seen[: len(without.seen)] == without.seen
    assert looked_at.seen[len(without.seen) :] == [1]


class Numbers(TorchDispatchMode):
    """How many numbers each of torch's functions is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = (one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor))
        self.seen.append(sum(tensor.numel() for tensor in tensors))
        return func(*args, **(kwargs or {}))


def test_a_loss_scale_that_collapses(tmp_path, tally):
    """On a CPU the first overflow must be enough, as fairseq then asks for a GPU."""
    scale = ("--fp16-no-flatten-grads", "--fp16-init-scale", 4, "--min-loss-scale", 2)
    trainer = make_trainer(tmp_path, "--fp16", *scale)
    in_output("encoder.layers.1", INF)(trainer.get_model())
    stopped(
        trainer,
        "Inf in the output of encoder.layers.1 (Minimum loss scale reached (2.0). Your loss is "
        "probably exploding. Try lowering the learning rate, using gradient clipping or "
        "increasing the batch size.)",
        tmp_path,
        tally,
    )


class Layer(nn.Module):
    """Experts on another device, whose third one overflows."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = Experts(4, 8, 8)
        self.experts.w_out.data[2] = INF
        for name, weight in [*self.experts.named_parameters()]:
            setattr(self.experts, name, nn.Parameter(weight.detach().to(elsewhere.DEVICE)))

    def forward(self, x_AD: torch.Tensor, counts_E: torch.Tensor) -> torch.Tensor:
        return self.experts(x_AD, counts_E)


@pytest.mark.parametrize("counts", [[3, 0, 4, 3], [0, 0, 1, 0], [9, 2, 5, 0]])
def test_experts_on_another_device_are_named(counts):
    """As on a GPU no operation mixes what lies on it with what does not."""
    with elsewhere.Elsewhere():
        model = Layer()
        with Search(model, nn.Module()) as search:
            rows_AD = torch.ones(sum(counts), 8).to(elsewhere.DEVICE)
            model(rows_AD, torch.tensor(counts).to(elsewhere.DEVICE))
        assert search.found and search.found[1].endswith(" in the output of experts, expert 2")
        with pytest.raises(RuntimeError, match="of tensors on cpu and meta"):
            rows_AD + torch.ones(8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_all_finite(dtype):
    """Whatever the sum is."""
    whole, nothing = torch.tensor([7]), torch.empty(0, dtype=dtype)
    high = torch.full((2, 1000), torch.finfo(dtype).max, dtype=dtype)
    assert all_finite([]) and all_finite([whole, nothing]) and all_finite([high, -high, whole])
    for wrong in ([NAN], [INF], [-INF], [INF, -INF], [NAN, INF]):
        for good in (torch.zeros_like(high), high):
            bad = good.clone()
            bad.view(-1)[500 : 500 + len(wrong)] = torch.tensor(wrong, dtype=dtype)
            assert not all_finite([good, bad]) and not all_finite([bad, whole, good])


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--moe-gating", "strictly_balanced"),
        ("--moe-gating", "top_k", "--attention", "additive", "--attention-residual"),
        ("--moe-groups", 2, "--encoder-bidirectional", "--moe-recompute"),
        ("--moe-groups", 2, "--moe-gating", "strictly_balanced"),
        ("--feed-forward", "dense", "--lstm-cells", 12, "--output-attention"),
    ],
)
def test_nothing_is_found_where_all_is_well(tmp_path, options):
    """Gates have no Inf of their own in what they return."""
    trainer = make_trainer(tmp_path, *options)
    with Search(trainer.get_model(), trainer.get_criterion()) as search:
        trainer.train_step(BATCHES[1:2])
    assert search.found is None and search._looked_at > 50
    assert not any(module._forward_hooks for module in trainer.get_model().modules())
