"""The cross entropy in parts against fairseq's and the formula."""

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss

from nmt_moe.criterions import cross_entropy
from nmt_moe.criterions.cross_entropy import smoothed_cross_entropy

PAD = 1


@pytest.fixture(params=[1, 60, 1 << 20])
def numbers(request, monkeypatch):
    """Parts of one row, of some, and of all."""
    monkeypatch.setattr(cross_entropy, "_NUMBERS", request.param)


@pytest.mark.usefixtures("numbers")
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.7])
def test_it_is_fairseqs(epsilon):
    torch.manual_seed(0)
    logits = (3 * torch.randn(11, 23, dtype=torch.double)).requires_grad_()
    target = torch.randint(0, 23, (11,))
    target[[2, 10]] = PAD
    loss, nll = smoothed_cross_entropy(logits, target, epsilon, PAD)
    expected, expected_nll = label_smoothed_nll_loss(
        logits.log_softmax(1), target.unsqueeze(1), epsilon, ignore_index=PAD
    )
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(nll, expected_nll, rtol=1e-12, atol=1e-12)
    (gradient,) = torch.autograd.grad(-2.5 * loss, logits)
    (right,) = torch.autograd.grad(-2.5 * expected, logits)
    torch.testing.assert_close(gradient, right, rtol=1e-12, atol=1e-12)
    assert not gradient[[2, 10]].any()


def test_other_precisions_are_computed_in_float32():
    torch.manual_seed(0)
    logits = (20 * torch.randn(40, 300)).bfloat16()
    target = torch.randint(0, 300, (40,))
    found = logits.clone().requires_grad_()
    loss, nll = smoothed_cross_entropy(found, target, 0.1, PAD)
    loss.backward()
    exact = logits.double().requires_grad_()
    right, right_nll = smoothed_cross_entropy(exact, target, 0.1, PAD)
    right.backward()
    assert loss.dtype == nll.dtype == torch.float32 and found.grad.dtype == torch.bfloat16
    torch.testing.assert_close(loss.double(), right.detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(nll.double(), right_nll, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.grad.double(), exact.grad, rtol=2**-8, atol=1e-6)


def test_large_logits_and_batches_of_padding_only():
    logits = torch.tensor([[1e30, 0.0, -1e30], [5.0, 5.0, 5.0]], requires_grad=True)
    loss, nll = smoothed_cross_entropy(logits, torch.tensor([0, PAD]), 0.0, PAD)
    loss.backward()
    assert loss == nll == 0 and not logits.grad.any()
    loss, _ = smoothed_cross_entropy(logits[:0], torch.tensor([], dtype=torch.long), 0.1, PAD)
    assert loss == 0
