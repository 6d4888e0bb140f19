"""The adaptive softmax: what it computes, its criterion, and cutoffs that do not fit."""

from types import SimpleNamespace

import fairseq.modules
import pytest
import torch
from fairseq.criterions.adaptive_loss import AdaptiveLoss
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nmt_moe.common.errors import UserError
from nmt_moe.criterions.balanced import balance
from nmt_moe.criterions.label_smoothed import MoELabelSmoothedCrossEntropy
from nmt_moe.plan import counts
from tests.models.build import SOURCE, TARGET, build_model, dictionary, pad_batch

CUTOFF = dict(adaptive_softmax_cutoff="6,12", adaptive_softmax_factor=2.0)  # of 24 words
ARCHITECTURES = ["lstm_moe", "lstm_moe_lm"]


def sample() -> dict:
    read = pad_batch(TARGET, 1, left=False)
    words = torch.tensor([[4, 5, 6, 2, 1, 1], [7, 13, 12, 23, 11, 2], [12, 2, 1, 1, 1, 1]])
    source = pad_batch(SOURCE, 1, left=True)
    inputs = {"src_tokens": source, "src_lengths": None, "prev_output_tokens": read}
    return {"net_input": inputs, "target": words, "ntokens": 12}


def of(arch: str, batch: dict) -> dict:
    if arch == "lstm_moe_lm":
        inputs = batch["net_input"]
        batch["net_input"] = {"src_tokens": inputs["prev_output_tokens"], "src_lengths": None}
    return batch


def naive(features: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Log probabilities of all words: 6 in the head, then 6, then 12."""
    head = (features @ weights["head.weight"].t()).log_softmax(-1)
    parts = [head[..., :6]]
    for tail in range(2):
        narrow = features @ weights[f"tail.{tail}.0.weight"].t()
        words = (narrow @ weights[f"tail.{tail}.2.weight"].t()).log_softmax(-1)
        parts.append(head[..., 6 + tail, None] + words)
    return torch.cat(parts, -1)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_loss_gradient_and_probabilities_are_those_of_the_formula(arch):
    torch.manual_seed(0)
    model, batch = build_model(arch, feed_forward="none", **CUTOFF).double(), of(arch, sample())
    task = SimpleNamespace(target_dictionary=dictionary())
    loss, size, _ = AdaptiveLoss(task, False)(model, batch)
    loss.sum().backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters()}

    model.zero_grad()
    features, extra = model(**batch["net_input"])
    weights = dict(model.decoder.adaptive_softmax.named_parameters())
    log_BLV = naive(features, weights)
    real = batch["target"] != 1
    nll = -log_BLV.gather(2, batch["target"].unsqueeze(2)).squeeze(2)[real].sum()
    nll.backward()
    assert size == 12 and loss.item() == pytest.approx(nll.item(), abs=1e-10)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=0, atol=1e-10)

    with torch.no_grad():
        found = model.get_normalized_probs((features, extra), log_probs=True)
        torch.testing.assert_close(found, log_BLV, rtol=0, atol=1e-12)
        theirs = fairseq.modules.AdaptiveSoftmax(24, 8, [6, 12], 0.0, 2.0).double()
        theirs.load_state_dict(model.decoder.adaptive_softmax.state_dict())
        torch.testing.assert_close(found, theirs.get_log_prob(features, None))
        assert found.exp().sum(-1).allclose(torch.ones(3, 6).double())
        smoothed, _ = MoELabelSmoothedCrossEntropy(
            task, False, 0.0, 0, False, *[0.0] * 5, moe_collapse_updates=0
        ).compute_loss(model, (features, extra), batch)
        assert smoothed.item() == pytest.approx(nll.item(), abs=1e-10)


def test_balance_losses_are_added_and_half_precision_is_summed_in_float32():
    torch.manual_seed(0)
    model = build_model("lstm_moe", **CUTOFF)
    task = SimpleNamespace(target_dictionary=dictionary())
    criterion = balance(AdaptiveLoss(task, False)).train()
    model.train()
    loss, _, logged = criterion(model, sample())
    assert loss.item() > logged["loss"].item() and logged["moe_load_loss"] > 0
    half, _, _ = criterion(model.bfloat16(), sample())
    assert half.dtype == torch.float32 and half.item() == pytest.approx(loss.item(), rel=0.05)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_it_is_counted_as_a_search_multiplies(arch):
    model = build_model(arch, **CUTOFF).eval()
    softmax = model.decoder.adaptive_softmax
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        softmax.get_log_prob(torch.randn(64, 4, 8), None)
    products = counter.get_total_flops() // 2 // (64 * 4)
    assert products == 8 * 8 + 8 * 4 + 4 * 6 + 8 * 2 + 2 * 12
    assert counts.parameters(softmax) == products
    if arch == "lstm_moe":
        assert counts.operations(model)["softmax"] == products
    without = counts.parameters_without_embedding_and_softmax
    assert without(model) == without(build_model(arch))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(adaptive_softmax_cutoff="6,x"), "is not a list of numbers such as 2000,10000"),
        (dict(adaptive_softmax_cutoff="12,6"), "each number must be above the one before"),
        (dict(adaptive_softmax_cutoff="0,6"), "the first above 0"),
        (dict(adaptive_softmax_cutoff="6,25"), "the dictionary has 24 words"),
        (dict(adaptive_softmax_cutoff="6,12"), "--dim 8 is too narrow for 2 tails"),
        (dict(adaptive_softmax_factor=0.5), "--adaptive-softmax-factor must be at least 1"),
        (CUTOFF | dict(share_decoder_input_output_embed=True), "or the shared embeddings"),
        (CUTOFF | dict(share_all_embeddings=True), "or the shared embeddings"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        build_model(**options)
