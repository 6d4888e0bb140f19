"""When processes talk to each other, and when they must not: alone, in surplus, and in trouble."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from fairseq.data import data_utils
from fairseq.data.language_pair_dataset import collate
from torch import Tensor

from nmt_moe.models.sharing import only_padding
from nmt_moe.moe import MixtureOfExperts, cv_squared
from nmt_moe.moe.mesh import Mesh, mesh_for
from nmt_moe.optim.moe_adam import MoEAdam
from tests.parallel.processes import run_in
from tests.parallel.trainer import EOS, PAD, batch, configuration, make_trainer, sentence_pairs

COLLECTIVES = [
    *("all_reduce", "all_gather", "all_gather_into_tensor", "all_gather_object", "all_to_all"),
    *("all_to_all_single", "barrier", "broadcast", "broadcast_object_list", "gather", "isend"),
    *("irecv", "new_group", "recv", "reduce", "reduce_scatter", "reduce_scatter_tensor"),
    *("scatter", "send"),
]


class Talked(Exception):
    """A process called another one."""


def forbid_talking() -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise Talked

    for name in COLLECTIVES:
        setattr(dist, name, refuse)


def layers_without_talking(size: int) -> None:
    mesh = mesh_for(8, size)
    forbid_talking()
    for gating, groups in itertools.product(["top_k", "noisy_top_k", "strictly_balanced"], [1, 4]):
        layer_without_talking(mesh, gating, groups)
    assert mesh is None


def layer_without_talking(mesh: Mesh | None, gating: str, groups: int) -> None:
    """All that a layer and its optimizer do, in training and evaluation."""
    layer = MixtureOfExperts(6, 5, 8, 2, gating=gating, groups=groups, mesh=mesh)
    optimizer = MoEAdam(layer.parameters(), mesh=mesh)
    for _ in range(2):
        y, routing = layer(torch.randn(9, 6))
        loss = y.square().sum() + cv_squared(routing.importance_E) + cv_squared(routing.load_E)
        loss.backward()
        optimizer.step()
    layer.eval()(torch.randn(3, 6))
    optimizer.consolidate_state_dict()
    layer.state_dict(), optimizer.state_dict()


def test_a_process_with_all_experts_talks_to_no_other(tmp_path, monkeypatch):
    for name in COLLECTIVES:  # put back afterwards
        monkeypatch.setattr(dist, name, getattr(dist, name))
    layers_without_talking(0)
    run_in(2, tmp_path, layers_without_talking, 1)


def test_the_test_above_would_notice(tmp_path):
    with pytest.raises(AssertionError, match="Talked"):
        run_in(2, tmp_path, layers_without_talking, 2)


def evaluate(sizes: list[int], gating: str) -> None:
    whole, shared = (
        MixtureOfExperts(6, 5, 8, 2, gating=gating, mesh=mesh).eval()
        for mesh in (None, mesh_for(8, 0))
    )
    for layer in (whole, shared):
        torch.manual_seed(0)
        torch.nn.init.normal_(layer.gate.w_gate)
        layer.experts.reset_parameters()
    before = sum(sizes[: dist.get_rank()])
    own = slice(before, before + sizes[dist.get_rank()])
    tokens_TD = torch.randn(sum(sizes), 6)
    with torch.no_grad():
        torch.testing.assert_close(shared(tokens_TD[own])[0], whole(tokens_TD)[0][own])


@pytest.mark.parametrize("gating", ["noisy_top_k", "strictly_balanced"])
def test_evaluation_where_a_process_has_fewer_tokens_or_none(gating, tmp_path):
    for sizes in ([0, 7], [9, 0, 13, 1], [0, 0]):
        run_in(len(sizes), tmp_path / f"{sizes}", evaluate, sizes, gating)


# A surplus batch


def test_a_surplus_batch_is_padding_of_the_same_shape():
    """A batch that fairseq has made, with what else it has."""
    samples = [
        {"id": number, "source": torch.tensor(source), "target": torch.tensor(target)}
        for number, (source, target) in enumerate(sentence_pairs(4))
    ]
    sample = collate(samples, PAD, EOS)
    before = {name: sample["net_input"][name].clone() for name in sample["net_input"]}
    padding = only_padding(sample, PAD)
    assert padding.keys() == sample.keys()
    assert padding["net_input"].keys() == sample["net_input"].keys()
    for name in ("src_tokens", "prev_output_tokens"):
        got, want = padding["net_input"][name], sample["net_input"][name]
        assert got.shape == want.shape and got.dtype == want.dtype
        assert got.eq(PAD).all() and want.ne(PAD).any()
    assert padding["target"].eq(PAD).all() and padding["target"].shape == sample["target"].shape
    assert torch.equal(padding["net_input"]["src_lengths"], before["src_lengths"])
    assert padding["ntokens"] == sample["ntokens"] > 0
    assert torch.equal(padding["id"], sample["id"])
    for name, value in before.items():
        assert torch.equal(sample["net_input"][name], value)  # fairseq uses it again


def test_a_batch_without_a_target_is_made_padding():
    tokens = data_utils.collate_tokens([torch.tensor([5, 6, EOS]), torch.tensor([EOS])], PAD)
    sample = {"net_input": {"src_tokens": tokens}, "target": None, "ntokens": 4}
    padding = only_padding(sample, PAD)
    assert padding["target"] is None
    assert padding["net_input"]["src_tokens"].eq(PAD).all()


def seen(cfg: Any, surplus: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Importance and load of an update, and the gates' weights after it.

    The second process has a batch of its own, or one that is too much.
    """
    trainer = make_trainer(cfg)
    first, second = batch(sentence_pairs(6)), batch(sentence_pairs(4, seed=1))
    sample = first
    if dist.get_rank():
        trainer.reset_dummy_batch(second)
        sample = {} if surplus else second
    model, routings = trainer.get_model(), []
    model.register_forward_hook(lambda *call: routings.append(call[-1][1]["routing"]))
    trainer.train_step([sample])
    [routing] = routings
    sums = {
        f"{layer} {vector}": getattr(routed, f"{vector}_E").detach()
        for layer, routed in routing.items()
        for vector in ("importance", "load")
    }
    assert len(sums) == 4
    return sums, {name: p.detach() for name, p in model.named_parameters() if ".gate." in name}


@pytest.mark.parametrize("gating", ["noisy_top_k", "strictly_balanced"])
def test_a_surplus_batch_changes_neither_importance_nor_load(gating, tmp_path):
    cfg = configuration("--lr", 0.01, moe_experts=8, moe_gating=gating)
    [alone] = run_in(1, tmp_path / "one", seen, cfg, False)
    for part in run_in(2, tmp_path / "surplus", seen, cfg, True):
        torch.testing.assert_close(part, alone, rtol=1e-4, atol=1e-5)
    for part in run_in(2, tmp_path / "both", seen, cfg, False):  # one that is not surplus does
        for name, value in alone[0].items():
            assert (part[0][name] - value).abs().max() > 0.1, name


# Trouble


def test_saving_while_an_error_is_handled_raises_it_again():
    """fairseq's crash path: the other processes would not answer."""
    mesh = Mesh(rank=0, world_size=2, ep_rank=0, ep_size=2, ep_group=None, replica_group=None)
    optimizer = MoEAdam([torch.nn.Parameter(torch.ones(2))], mesh=mesh)
    with pytest.raises(ZeroDivisionError, match="mine"):
        try:
            raise ZeroDivisionError("mine")
        except Exception:
            optimizer.consolidate_state_dict()
    optimizer.consolidate_state_dict()  # that error is over


def trouble(cfg: Any, kind: str, folder: Path) -> None:
    trainer = make_trainer(cfg)
    trainer.cfg.checkpoint.save_dir = str(folder)
    sample = batch(sentence_pairs(5, seed=dist.get_rank()))
    trainer.train_step([sample])
    if dist.get_rank():
        if kind == "nan":
            with torch.no_grad():
                trainer.get_model().decoder.feed_forwards["1"].moe.experts.w_out.fill_(torch.nan)
        else:
            sample = {"no": "batch"}
    trainer.train_step([sample])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "nan",
            r"OnEveryRank: NaN in the weights of decoder\.\S+\.experts\.w_out, experts 4, 5, 6",
        ),
        ("no batch", r"process 1: (?s:.*)KeyError: 'net_input'"),
    ],
)
def test_trouble_in_one_process_ends_all(kind, message, tmp_path):
    cfg = configuration("--lr", 0.01, moe_experts=8)
    with pytest.raises(AssertionError, match=message) as caught:
        run_in(2, tmp_path / "run", trouble, cfg, kind, tmp_path)
    assert "process 0" in str(caught.value) and "process 1" in str(caught.value)
    assert not list(tmp_path.glob("*.pt"))
