"""R-Drop's loss and gradient against two passes in float64, and what a training makes of it."""

from argparse import Namespace

import pytest
import torch
import torch.nn.functional as F
from fairseq.models.lstm import LSTMModel, base_architecture

from nmt_moe.common.errors import UserError
from nmt_moe.criterions import label_smoothed, r_drop
from nmt_moe.criterions.cross_entropy import with_divergence
from nmt_moe.criterions.r_drop import twice
from tests.criterions.test_label_smoothed import PAD, SMOOTHING, batch, criterion, squared_cv
from tests.models.build import TARGET, build_model, dictionary

W = 5.0
SIZE = sum(map(len, TARGET))


def smoothed(log_NV: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
    other = SMOOTHING / (log_NV.shape[1] - 1)
    wanted = (1 - SMOOTHING - other) * F.one_hot(target_N, log_NV.shape[1]).to(log_NV) + other
    return -(wanted * log_NV).sum(1)[target_N != PAD].sum()


def apart(log_p: torch.Tensor, log_q: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
    """``KL(p || q) + KL(q || p)`` over the real tokens."""
    both = log_p.exp() * (log_p - log_q) + log_q.exp() * (log_q - log_p)
    return both.sum(1)[target_N != PAD].sum()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("words", [5, 16, 33, 1000])
def test_the_divergence_and_its_gradient(words, dtype):
    torch.manual_seed(words)
    exact = (2 * torch.randn(40, words)).double().requires_grad_()
    target_BL = torch.randint(2, words, (5, 4))
    target_BL[1, 2] = PAD
    target_N = target_BL.repeat_interleave(2, dim=0).flatten()
    log_NV = exact.log_softmax(1)
    passes = log_NV.view(5, 2, 4, words).unbind(1)
    kl = apart(*(x.reshape(20, words) for x in passes), target_BL.flatten())
    right = [smoothed(log_NV, target_N) + 0.7 * kl, -log_NV[range(40), target_N][target_N != PAD]]
    right = [right[0], right[1].sum(), kl]
    found_NV = exact.detach().to(dtype).requires_grad_()
    found = with_divergence(found_NV, target_N, SMOOTHING, PAD, 0.7, 4)
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-6)
    [gradient] = torch.autograd.grad(3 * found[0], found_NV)
    [expected] = torch.autograd.grad(3 * right[0], exact)
    limit = 1e-12 if dtype == torch.float64 else 1e-5
    assert (gradient.double() - expected).abs().max() < limit * expected.abs().max()
    assert not gradient[target_N == PAD].any()


def parts_of(model, sample, seed):
    """The mean cross entropy of both passes, half of their mean divergence, the balance losses."""
    torch.manual_seed(seed)
    logits, extra = model(**twice(sample)["net_input"])
    log_BLV = logits.log_softmax(-1)
    log_2NV = [log_BLV[start::2].flatten(0, 1) for start in (0, 1)]
    target_N = sample["target"].flatten()
    entropy = sum(smoothed(log_NV, target_N) for log_NV in log_2NV) / 2
    layers = extra["routing"].values()
    balance = [sum(squared_cv(x.importance_E) for x in layers)]
    balance += [sum(squared_cv(x.load_E) for x in layers)]
    return entropy, apart(*log_2NV, target_N) / 4, *balance


@pytest.mark.parametrize("sentence_avg", [False, True])
@pytest.mark.parametrize("gating", ["noisy_top_k", "strictly_balanced"])
def test_loss_gradient_and_log_of_a_model(gating, sentence_avg):
    torch.manual_seed(0)
    model = build_model(dropout=0.3, moe_gating=gating).double().train()
    sample, parameters = batch(), list(model.parameters())
    weights = dict(moe_importance_weight=0.5, moe_load_weight=2.0, moe_threshold_weight=0.0)
    loss = criterion(sentence_avg, r_drop=W, **weights)
    torch.manual_seed(1)
    total, size, logged = loss(model, sample)
    entropy, kl, importance, load = parts_of(model, sample, 1)
    assert size == logged["sample_size"] == (3 if sentence_avg else SIZE)
    right = entropy + W * kl + size * (0.5 * importance + 2 * load)
    assert total.item() == pytest.approx(right.item(), rel=1e-10) and kl > 0.01
    found = torch.autograd.grad(total, parameters, allow_unused=True)
    expected = torch.autograd.grad(right, parameters, allow_unused=True)
    for a, b in zip(found, expected, strict=True):
        if b is not None:
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
    assert logged["loss"].item() == pytest.approx(entropy.item())
    assert logged["r_drop_loss"].item() == pytest.approx((W * kl).item())
    assert logged["ntokens"] == SIZE and logged["nsentences"] == 3


def test_the_loss_of_thresholds_is_the_mean_of_both_passes():
    torch.manual_seed(0)
    model = build_model(moe_gating="strictly_balanced").double().train()  # without dropout
    logs = [criterion(r_drop=w)(model, batch())[2] for w in (0.0, W)]
    # Two equal halves: the same tokens are taken, but for ties at the last place.
    once, both = (log["moe_threshold_loss"].item() for log in logs)
    assert both == pytest.approx(once, rel=0.3)
    assert logs[1]["r_drop_loss"].abs() < 1e-20


def test_without_dropout_both_passes_agree_and_the_loss_is_that_of_one():
    torch.manual_seed(0)
    model = build_model(moe_gating="top_k").double().train()
    losses = [criterion(r_drop=w)(model, batch())[0].item() for w in (0.0, W)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-12)


def test_evaluation_is_untouched():
    torch.manual_seed(0)
    model = build_model(dropout=0.3).eval()
    found, right = (criterion(r_drop=w)(model, batch()) for w in (W, 0.0))
    assert torch.equal(found[0], right[0]) and found[1] == right[1]
    assert found[2].keys() == right[2].keys()


def test_the_way_around_the_logits_is_the_same(monkeypatch):
    model = build_model(dropout=0.3).train()
    totals = []
    for _ in range(2):
        torch.manual_seed(1)
        total, _, logged = criterion(r_drop=W)(model, batch())
        totals.append([total.item(), logged["r_drop_loss"].item()])
        for module in (label_smoothed, r_drop):
            monkeypatch.setattr(module, "logits_of", lambda *_: None)
    assert totals[1] == pytest.approx(totals[0], rel=1e-5)


def test_a_model_of_fairseq_trains_with_it():
    lstm = LSTMModel.build_model(_lstm_options(), _Task(dictionary())).train()
    total, size, logged = criterion(r_drop=W)(lstm, batch())
    assert logged["r_drop_loss"] > 0 and size == SIZE
    total.backward()
    assert all(x.grad.isfinite().all() for x in lstm.parameters())


class _Task:
    def __init__(self, words):
        self.source_dictionary = self.target_dictionary = words


def _lstm_options():
    options = Namespace(encoder_embed_dim=8, decoder_embed_dim=8, decoder_out_embed_dim=8)
    options.dropout, options.criterion = 0.3, "moe_label_smoothed_cross_entropy"
    base_architecture(options)
    return options


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_negative_weights_are_refused(value):
    with pytest.raises(UserError, match="--r-drop must be at least 0"):
        criterion(r_drop=value)
