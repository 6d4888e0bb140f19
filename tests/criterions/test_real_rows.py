"""Logits and loss of the real target tokens only, as on a GPU, against those of all positions."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fairseq.distributed import ModuleProxyWrapper
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from nmt_moe.criterions import label_smoothed
from nmt_moe.criterions.label_smoothed import MoELabelSmoothedCrossEntropy
from nmt_moe.criterions.real_rows import RealRows, takes_head
from nmt_moe.models import feed_forward
from nmt_moe.models.translation import LSTMMoEModel
from nmt_moe.non_finite.search import Search
from tests.criterions.test_label_smoothed import PAD, batch, criterion
from tests.models.build import TARGET, build_model
from tests.parallel.processes import run_in

MODELS = {
    "plain": {},
    "tied": dict(share_decoder_input_output_embed=True),
    "strictly balanced": dict(moe_gating="strictly_balanced"),
    "language": dict(arch="lstm_moe_lm"),
    "dropout": dict(dropout=0.3, word_dropout=0.1),
}
CUTOFF = dict(adaptive_softmax_cutoff="6,12", adaptive_softmax_factor=2.0)
REAL = sum(map(len, TARGET))


@pytest.fixture
def chosen(monkeypatch):
    """As on a GPU."""
    monkeypatch.setattr(label_smoothed, "pays", lambda _: True)


def made(name: str, **options) -> tuple[nn.Module, dict]:
    torch.manual_seed(0)
    model, sample = build_model(**MODELS[name], **options).double().train(), batch()
    if name == "language":
        sample["net_input"] = {"src_tokens": sample["net_input"]["prev_output_tokens"]}
    return model, sample


def found(loss: MoELabelSmoothedCrossEntropy, model: nn.Module, sample: dict) -> tuple:
    """What the criterion returns, and the gradients of all weights."""
    torch.manual_seed(1)
    total, size, log = loss(model, sample)
    parameters = [p for p in model.parameters() if p.requires_grad]
    return total.detach(), size, log, torch.autograd.grad(total, parameters)


def rows_of(model: nn.Module, monkeypatch) -> list[int]:
    """Gets the number of rows of each call of the output layer."""
    rows: list[int] = []
    real = model.decoder.output_layer
    monkeypatch.setattr(
        model.decoder, "output_layer", lambda x: rows.append(x.shape[:-1].numel()) or real(x)
    )
    return rows


@pytest.mark.parametrize("sentence_avg", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_loss_gradients_and_log_are_those_of_all_positions(name, sentence_avg, monkeypatch):
    model, sample = made(name)
    right = found(criterion(sentence_avg), model, sample)
    monkeypatch.setattr(label_smoothed, "pays", lambda _: True)
    rows = rows_of(model, monkeypatch)
    loss = criterion(sentence_avg)
    for ntokens in (REAL, REAL + 2, 10 * REAL):  # of language models it may be higher
        got = found(loss, model, sample | {"ntokens": ntokens})
        size = 3 if sentence_avg else REAL
        scale = 1.0 if sentence_avg else ntokens / REAL  # of the balance losses
        assert rows.pop() == min(ntokens, sample["target"].numel()) and not rows
        if scale == 1.0:
            assert got[1] == right[1] == size and got[2].keys() == right[2].keys()
            torch.testing.assert_close(got[0], right[0], rtol=1e-12, atol=0)
            for key in got[2].keys() - {"ntokens"}:
                torch.testing.assert_close(got[2][key], right[2][key], rtol=1e-12, atol=0)
            for one, other in zip(got[3], right[3], strict=True):
                torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
        for key in ("loss", "nll_loss"):
            torch.testing.assert_close(got[2][key], right[2][key], rtol=1e-12, atol=0)


class Doubled(LSTMMoEModel):
    def forward(self, *args, **kwargs):
        logits, extra = super().forward(*args, **kwargs)
        return 2 * logits, extra


class OfLogits(MoELabelSmoothedCrossEntropy):
    def compute_loss(self, model, net_output, sample, reduce=True):
        total = net_output[0].square().sum()
        return total, total.detach()


OTHERS = {
    "accuracy": lambda loss, model: setattr(loss, "report_accuracy", True),
    "prefix": lambda loss, model: setattr(loss, "ignore_prefix_size", 1),
    "r_drop": lambda loss, model: setattr(loss, "r_drop", 1.0),
    "a user's model": lambda loss, model: setattr(model, "__class__", Doubled),
    "a user's criterion": lambda loss, model: setattr(loss, "__class__", OfLogits),
    "a hook": lambda loss, model: model.decoder.output.register_forward_hook(lambda *_: None),
}


@pytest.mark.parametrize("other", OTHERS)
def test_all_logits_are_made_for_whoever_needs_them(other, monkeypatch):
    model, sample = made("plain")
    loss = criterion()
    OTHERS[other](loss, model)
    right = found(loss, model, sample)
    monkeypatch.setattr(label_smoothed, "pays", lambda _: True)
    rows = rows_of(model, monkeypatch)
    got = found(loss, model, sample)
    passes = 2 if other == "r_drop" else 1
    assert rows == [passes * sample["target"].numel()]
    assert torch.equal(got[0], right[0]) and all(map(torch.equal, got[3], right[3]))
    if other == "accuracy":
        assert got[2]["total"] == REAL and got[2]["n_correct"] == right[2]["n_correct"]


@pytest.mark.usefixtures("chosen")
@pytest.mark.parametrize("arch", ["lstm_moe", "lstm_moe_lm"])
def test_an_adaptive_softmax_gets_all_features(arch):
    plain, adaptive = (build_model(arch, **more) for more in ({}, CUTOFF))
    assert takes_head(plain) and not takes_head(adaptive)


@pytest.mark.usefixtures("chosen")
def test_a_task_that_counts_other_tokens():
    """From the first batch on all real rows are there; later a batch shows that it lacks some."""
    model, sample = made("plain")
    right = found(criterion(), model, sample)
    few = sample | {"ntokens": REAL - 1}
    loss = criterion(True)
    for _ in range(2):
        torch.testing.assert_close(found(loss, model, few)[2]["nll_loss"], right[2]["nll_loss"])
    loss = criterion()
    found(loss, model, sample)
    total, _, _, gradients = found(loss, model, few)
    assert total.isnan() and gradients[-1].isnan().any()


@pytest.mark.parametrize("real", [0, 1, 5])
def test_the_rows(real):
    pad_N = torch.ones(5, dtype=torch.bool)
    pad_N[torch.tensor([3, 0, 4, 1, 2])[:real]] = False
    for ntokens in (real, 4, 9):
        if ntokens < real:
            continue
        rows = RealRows()
        for _ in range(2):
            row_R, missing = rows(pad_N, ntokens)
            assert row_R[:real].equal(pad_N.logical_not().nonzero().flatten())
            assert pad_N[row_R[real:]].all() and not missing.any()
        assert len(row_R) == min(ntokens, 5)


@pytest.mark.usefixtures("chosen")
def test_evaluation_without_a_gradient_and_a_batch_of_padding():
    model, sample = made("plain")
    logits, _ = model.eval()(**sample["net_input"])
    right = F.cross_entropy(logits.flatten(0, 1), sample["target"].flatten(), ignore_index=PAD)
    with torch.no_grad():
        log = criterion()(model, sample)[2]
    assert log["nll_loss"].item() == pytest.approx(REAL * right.item())
    empty = sample | {"target": torch.full_like(sample["target"], PAD), "ntokens": 0}
    assert criterion()(model, empty)[2]["loss"] == 0


@pytest.mark.usefixtures("chosen")
def test_a_search_for_nan_tells_the_loss_from_the_decoder():
    model, sample = made("plain")
    loss = criterion()
    loss.eps = math.nan
    with Search(model, loss) as search:
        loss(model, sample)
    assert search.found is not None and search.found[1] == "NaN in the loss"


def in_one_process() -> list[float]:
    """With the weights that are used found in what the model returns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_smoothed, "pays", lambda _: True)
        model, sample = made("plain", moe_gating="top_k")
        loss = criterion()
        right = found(loss, model, sample)[3]
        wrapped = ModuleProxyWrapper(DistributedDataParallel(model, find_unused_parameters=True))
        rows = rows_of(model, patch)
        loss(wrapped, sample)[0].backward()
        assert rows == [REAL]
        gradients = [p.grad for p in model.parameters()]
    return [(a - b).abs().max().item() for a, b in zip(gradients, right, strict=True)]


def test_several_processes_share_the_gradients(tmp_path):
    [apart] = run_in(1, tmp_path, in_one_process)
    assert max(apart) < 1e-12


def real_rows_by_numpy(pad_BL: Tensor) -> Tensor:
    return torch.from_numpy(np.flatnonzero(~pad_BL.t().reshape(-1).numpy()))


class NoWait(TorchDispatchMode):
    """Raises where the host asks for a number of a tensor, but for within the model's layers."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.inside, self.seen = 0, 0
        for layer in layers:
            layer.register_forward_pre_hook(lambda *_: self.count(1))
            layer.register_forward_hook(lambda *_: self.count(-1))

    def count(self, change: int) -> None:
        self.inside += change
        self.seen += 1

    def __torch_dispatch__(self, function, types, args=(), kwargs=None) -> Tensor:
        waits = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        assert self.inside or function not in waits
        return function(*args, **(kwargs or {}))


@pytest.mark.usefixtures("chosen")
@pytest.mark.parametrize("gating", ["noisy_top_k", "strictly_balanced"])
def test_the_criterion_asks_for_no_number_in_an_update(gating, monkeypatch):
    """The layers of the experts, and where their rows are, are not looked at here."""
    monkeypatch.setattr(feed_forward, "real_rows", real_rows_by_numpy)
    torch.manual_seed(0)
    model, sample = build_model(moe_gating=gating).double().train(), batch()
    layers = [*model.encoder.feed_forwards.values(), *model.decoder.feed_forwards.values()]
    loss = criterion()
    loss(model, sample)  # looks at how the task counts
    with NoWait(*layers) as mode:
        total, _, log = loss(model, sample)
        assert mode.seen == 4 * len(layers) / 2 and "attention/decoder.1" in log
        mode.inside = 1  # their backward passes
        total.backward()
    with pytest.raises(AssertionError), NoWait():
        total.item()
    loss.report_accuracy = True
    with pytest.raises(AssertionError), NoWait(*layers):
        loss(model, sample)  # fairseq's own waits
