"""``--optimizer adam`` on CPUs, against fairseq's loop."""

import copy
import inspect

import pytest
import torch
from fairseq.optim.adam import Adam

import nmt_moe.plugin  # noqa: F401 (applies the fixes)
from nmt_moe.fairseq_fixes import adam
from nmt_moe.optim.split import join


def loop(optimizer: Adam) -> None:
    """An update as fairseq's own code makes it."""
    original = inspect.unwrap(Adam.step)
    (step,) = inspect.getclosurevars(original).nonlocals.values()
    assert step.__module__ == "fairseq.optim.adam"
    step(optimizer)


def weights(dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    torch.manual_seed(3)
    return [torch.nn.Parameter(torch.randn(shape).to(dtype)) for shape in [(30, 7), (7,), (), (5,)]]


@pytest.mark.parametrize(
    "options", [{}, {"weight_decay": 0.1}, {"eps": 1e-3, "betas": (0.8, 0.95)}, {"amsgrad": True}]
)
def test_updates_are_those_of_fairseq(options):
    found, right = weights(), weights()
    ours, theirs = Adam(found, lr=0.05, **options), Adam(right, lr=0.05, **options)
    for update in range(12):
        for one, other in zip(found, right, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        if update % 3 == 1:  # a weight that was not used
            found[3].grad = right[3].grad = None
        ours.step()
        loop(theirs)
        if update == 5:
            # A checkpoint of either is one of the other.
            state = copy.deepcopy(theirs.state_dict())
            theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
            ours.load_state_dict(state)
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-6)
    for one, other in zip(found, right, strict=True):
        assert ours.state[one]["step"] == theirs.state[other]["step"]
        torch.testing.assert_close(ours.state[one]["exp_avg_sq"], theirs.state[other]["exp_avg_sq"])


def test_updates_of_bfloat16_are_those_of_float32_bit_by_bit():
    """Through a checkpoint, of which fairseq takes the state as it is."""
    found, right = weights(torch.bfloat16), weights(torch.bfloat16)
    right = [torch.nn.Parameter(param.detach().float()) for param in right]
    ours, theirs = Adam(found, lr=1e-5, weight_decay=0.1), Adam(right, lr=1e-5, weight_decay=0.1)
    for update in range(12):
        for one, other in zip(found, right, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.float()
        ours.step()
        theirs.step()
        if update == 5:
            saved = copy.deepcopy(ours.state_dict())["state"]
            ours = Adam(found, lr=1e-5, weight_decay=0.1)
            ours.state.update({param: saved[i] for i, param in enumerate(found)})
    for one, other in zip(found, right, strict=True):
        assert torch.equal(join(one, ours.state[one]["remainder"]), other)


def test_only_float32_and_bfloat16_on_cpus_are_fused(monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("fused")

    monkeypatch.setattr(adam, "adamw", refuse)
    half = weights(torch.float16)
    for param in half:
        param.grad = torch.ones_like(param)
    Adam(half, lr=0.1).step()
    assert all(param.isfinite().all() for param in half)
    whole = weights()
    whole[0].grad = torch.ones_like(whole[0])
    with pytest.raises(AssertionError, match="fused"):
        Adam(whole, lr=0.1).step()


def test_a_closure_is_called_once_and_its_loss_returned():
    calls = []
    param = torch.nn.Parameter(torch.ones(2))
    param.grad = torch.ones(2)

    def closure() -> str:
        calls.append(1)
        return "loss"

    assert Adam([param]).step(closure) == "loss"
    assert calls == [1]
