"""The cross entropy in Triton against its formula in float64: see ``gpus.py`` for where."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from fairseq.utils import apply_to_sample
from torch import library

from nmt_moe.criterions import label_smoothed
from nmt_moe.criterions.cross_entropy import smoothed_cross_entropy
from nmt_moe.kernels import gpu
from nmt_moe.models.incremental import IncrementalDecoder
from tests.criterions.test_label_smoothed import batch, criterion
from tests.criterions.test_real_rows import NoWait
from tests.kernels.gpus import DEVICE, assert_close, normal
from tests.models.build import build_model

# isort: split
from nmt_moe.kernels.gpu import loss as gpu_loss

PADDING, NAN, INF = 1, float("nan"), float("inf")
# The interpreter does not round to bfloat16, but cuts.
ERRORS = {torch.float32: 1e-6, torch.bfloat16: 2**-7, torch.float16: 2**-11}


def naive(logits_NV: torch.Tensor, target_N: torch.Tensor, epsilon: float) -> tuple:
    """The sums, and the gradient of the first, in float64 and one row after the other."""
    rows_NV = logits_NV.detach().cpu().double().requires_grad_()
    total, nll = torch.zeros((), dtype=torch.double), 0.0
    for logits_V, target in zip(rows_NV, target_N.tolist(), strict=True):
        if target == PADDING:
            continue
        log_V = logits_V - logits_V.logsumexp(0)
        other = epsilon / (len(log_V) - 1)
        wanted_V = torch.full_like(log_V, other)
        wanted_V[target] = 1 - epsilon
        total, nll = total - (wanted_V * log_V).sum(), nll - log_V[target].item()
    (gradient,) = torch.autograd.grad(total, rows_NV) if total.requires_grad else (0 * rows_NV,)
    return total.detach(), torch.tensor(nll).double(), gradient


def some(rows: int, words: int, dtype: torch.dtype = torch.float32) -> tuple:
    torch.manual_seed(words)
    logits_NV = 5 * normal(rows, words)
    target_N = torch.randint(2, max(words, 3), (rows,)).to(DEVICE) % words
    target_N[::3] = PADDING
    return logits_NV.to(dtype).requires_grad_(), target_N


@pytest.fixture
def chosen(monkeypatch):
    """Triton wherever it can do, as on a GPU."""
    monkeypatch.setattr(gpu, "can_move", lambda x: x.dtype != torch.float64)


@pytest.mark.usefixtures("chosen")
@pytest.mark.parametrize(
    ("words", "dtype", "epsilon"),
    [
        *((words, torch.float32, 0.1) for words in (2, 37, 4096, 10001)),
        *((40, dtype, 0.0) for dtype in ERRORS),
        (4099, torch.bfloat16, 0.1),
    ],
)
def test_loss_and_gradient(words, dtype, epsilon):
    logits_NV, target_N = some(5, words, dtype)
    total, nll = smoothed_cross_entropy(logits_NV, target_N, epsilon, PADDING)
    assert total.dtype == nll.dtype == torch.float32
    (found,) = torch.autograd.grad(-2.5 * total, logits_NV)
    right, right_nll, gradient = naive(logits_NV, target_N, epsilon)
    assert_close(total.cpu(), right)
    assert_close(nll.cpu(), right_nll)
    assert found.dtype == dtype
    assert_close(found.cpu(), -2.5 * gradient, ERRORS[dtype])
    assert not found[target_N == PADDING].any()


@pytest.mark.usefixtures("chosen")
@pytest.mark.parametrize("owned", [False, True])
def test_the_gradient_takes_the_place_of_logits_that_nobody_reads(owned):
    logits_NV, target_N = some(3, 33)
    copy_NV = logits_NV.detach().clone()
    leaf = torch.zeros_like(copy_NV).requires_grad_()
    made_NV = copy_NV + leaf
    total, _ = smoothed_cross_entropy(made_NV, target_N, 0.1, PADDING, owned)
    right = naive(copy_NV, target_N, 0.1)[2]
    for _ in range(2):  # the graph is kept: so are they
        (found,) = torch.autograd.grad(total, leaf, retain_graph=True)
        assert_close(found.cpu(), right, 1e-6)
        assert torch.equal(made_NV, copy_NV)
    (found,) = torch.autograd.grad(total, leaf)
    assert_close(found.cpu(), right, 1e-6)
    assert torch.equal(made_NV, found if owned else copy_NV)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(total, leaf)


@pytest.mark.usefixtures("chosen")
def test_logits_that_do_not_lie_side_by_side():
    target_N = some(4, 21)[1]
    for logits_NV in (normal(4, 40)[:, 8:29], normal(21, 4).t()):
        copy_NV = logits_NV.contiguous().requires_grad_()
        logits_NV.requires_grad_()
        found = [
            torch.autograd.grad(smoothed_cross_entropy(x, target_N, 0.1, PADDING)[0], x)[0]
            for x in (logits_NV, copy_NV)
        ]
        assert torch.equal(*found)
        assert_close(found[0].cpu(), naive(copy_NV, target_N, 0.1)[2], 1e-6)


# Of the first logits of a row.
ODD = {"nan": [NAN], "inf": [INF], "-inf": [-INF] * 4, "all": [-INF] * 40, "1e30": [1e30, -1e30]}


@pytest.mark.usefixtures("chosen")
@pytest.mark.parametrize("epsilon", [0.0, 0.1])
@pytest.mark.parametrize("odd", ODD)
def test_what_is_not_finite_is_what_torch_makes_of_it(odd, epsilon):
    logits_NV, target_N = some(2, 40)
    target_N[:] = torch.tensor([PADDING, 5])
    with torch.no_grad():
        logits_NV[:, : len(ODD[odd])] = torch.tensor(ODD[odd], device=DEVICE)
    exact_NV = logits_NV.detach().cpu().double().requires_grad_()
    both = []
    for x_NV, at_N in ((logits_NV, target_N), (exact_NV[1:], target_N[1:].cpu())):
        found = smoothed_cross_entropy(x_NV, at_N, epsilon, PADDING)
        both.append([*(x.detach().cpu().double() for x in found)])
        *padding, gradient_V = torch.autograd.grad(found[0], x_NV)[0].cpu().double()
        both[-1].append(gradient_V)
        assert not any(x.any() for x in padding)
    torch.testing.assert_close(*both, equal_nan=True, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("chosen")
@pytest.mark.parametrize("rows", [0, 2])
def test_no_rows_and_padding_alone(rows):
    logits_NV = normal(rows, 9).requires_grad_()
    target_N = torch.full((rows,), PADDING, device=DEVICE)
    total, nll = smoothed_cross_entropy(logits_NV, target_N, 0.1, PADDING, True)
    assert total == nll == 0
    total.backward()
    assert logits_NV.grad.shape == (rows, 9) and not logits_NV.grad.any()


@pytest.mark.usefixtures("chosen")
@pytest.mark.skipif(DEVICE == "cuda", reason="the device stops, as at any wrong index")
@pytest.mark.parametrize("target", [-7, 40])
def test_a_target_that_is_no_column(target):
    with pytest.raises(RuntimeError, match="out of bounds"):
        smoothed_cross_entropy(normal(1, 40), torch.tensor([target]), 0.1, PADDING)


@pytest.mark.parametrize("tied", [False, True])
def test_a_models_loss_from_its_real_rows(tied, monkeypatch):
    """With the gradient in the logits' memory, and without a number that the host asks for."""
    torch.manual_seed(0)
    model = build_model(feed_forward="none", share_decoder_input_output_embed=tied).train()
    loss, sample = criterion(), apply_to_sample(lambda x: x.to(DEVICE), batch())

    def results(mode: AbstractContextManager) -> list[torch.Tensor]:
        with mode:
            total, _, log = loss(model, sample)
            total.backward()
        return [log["loss"], log["nll_loss"], *(p.grad for p in model.parameters())]

    with monkeypatch.context() as patch:
        patch.setattr(label_smoothed, "pays", lambda _: False)
        patch.setattr(gpu, "can_move", lambda _: False)
        model.to(DEVICE, torch.float64)
        right = results(nullcontext())
    monkeypatch.setattr(label_smoothed, "pays", lambda _: True)
    monkeypatch.setattr(gpu, "can_move", lambda _: True)
    monkeypatch.setitem(gpu_loss._CONFIG, "COLUMNS", 32)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # of the LSTM layers
    model.to(torch.float32).zero_grad()
    loss(model, sample)  # looks at how the task counts
    seen, make = [], IncrementalDecoder.output_layer

    def output_layer(*inputs: Any) -> torch.Tensor:
        logits = make(*inputs)
        seen.extend([logits.detach(), logits.detach().clone()])
        return logits

    monkeypatch.setattr(IncrementalDecoder, "output_layer", output_layer)
    for found, exact in zip(results(NoWait()), right, strict=True):
        assert_close(found, exact, 1e-4)
    after, before = seen
    assert after.shape[1] == sample["ntokens"] and (after != before).any(2).all()


def test_the_operators_keep_torchs_rules():
    logits_NV, target_N = (x.detach() for x in some(5, 12))
    calls = {
        "gpu_cross_entropy": (logits_NV, target_N, 0.1, PADDING, False),
        "gpu_cross_entropy_backward": (
            *(torch.empty_like(logits_NV), torch.ones((), device=DEVICE), logits_NV, target_N),
            *(logits_NV.logsumexp(1), 0.1, PADDING),
        ),
    }
    for name, inputs in calls.items():
        checks = ("test_schema", "test_faketensor", "test_autograd_registration")
        library.opcheck(getattr(torch.ops.nmt_moe, name).default, inputs, test_utils=checks)
