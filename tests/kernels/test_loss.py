"""The loss in C against its formula in float64."""

import pytest
import torch

from nmt_moe.criterions.cross_entropy import smoothed_cross_entropy
from nmt_moe.kernels.cpu import loss as kernel
from tests.compiled import skip_unless_compiled

skip_unless_compiled()
PADDING = 1


def both(logits_NV, target_N, epsilon):
    found = smoothed_cross_entropy(logits_NV, target_N, epsilon, PADDING)
    return [*found, *torch.autograd.grad(found[0] * 0.7, logits_NV)]


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
@pytest.mark.parametrize("words", [2, 15, 16, 33, 1000])
def test_loss_and_gradient(words, epsilon):
    torch.manual_seed(words)
    logits_NV = (5 * torch.randn(50, words)).requires_grad_()
    target_N = torch.randint(words, (50,))
    target_N[3] = PADDING
    if not kernel.usable(logits_NV):
        pytest.skip("loss.c needs AVX-512")
    found = both(logits_NV, target_N, epsilon)
    right = both(logits_NV.detach().double().requires_grad_(), target_N, epsilon)
    for a, b in zip(found, right, strict=True):
        assert (a - b).abs().max() < 1e-5 * b.abs().max() + 1e-9
    assert (found[2][3] == 0).all()


def test_padding_has_no_gradient_whatever_its_logits_are():
    """Above 88.7 their exponential is infinite in float32."""
    logits_NV = torch.randn(6, 40)
    logits_NV[3:] = torch.tensor([[88.0], [90.0], [1e30]])
    target_N = torch.tensor([5, 6, 7, PADDING, PADDING, PADDING])
    found = both(logits_NV.requires_grad_(), target_N, 0.1)
    right = both(logits_NV[:3].detach().double().requires_grad_(), target_N[:3], 0.1)
    for a, b in zip(found[:2], right[:2], strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-6, atol=0)
    torch.testing.assert_close(found[2][:3].double(), right[2], rtol=1e-5, atol=1e-7)
    assert (found[2][3:] == 0).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_seen(value):
    logits_NV = torch.randn(4, 40)
    logits_NV[2, 39] = value
    loss, nll = smoothed_cross_entropy(
        logits_NV.requires_grad_(), torch.full((4,), 5), 0.1, PADDING
    )
    assert not loss.isfinite() and not nll.isfinite()


@pytest.mark.parametrize("target", [-7, 40])
def test_a_target_that_is_no_column(target):
    logits_NV = torch.randn(1, 40)
    with pytest.raises((IndexError, RuntimeError)):
        smoothed_cross_entropy(logits_NV, torch.tensor([target]), 0.1, PADDING)
