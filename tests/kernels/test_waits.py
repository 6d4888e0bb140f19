"""The layer as it runs on a GPU, where the host must not wait for it: in Triton's interpreter.

Calls that make a host wait are no error on a CPU; here they are. ``test_gpu.py`` asks a real GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from nmt_moe.kernels import gpu
from nmt_moe.kernels.gpu import choices
from nmt_moe.models.architectures import build, config
from nmt_moe.moe import MixtureOfExperts, cv_squared
from tests.kernels.gpus import ON_GPU, assert_close

pytestmark = pytest.mark.skipif(ON_GPU, reason="of the path's stand-in on a CPU")

OPERATORS = {
    *("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "bincount"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "histc", "segment_reduce"),
}
READS = {"tolist", "numpy", "cpu", "item", "__bool__", "__int__", "__float__", "__index__"}


class Waited(Exception):
    """Something made the host wait."""


class Operators(TorchDispatchMode):
    """Refuse what depends on numbers of a tensor, in whatever is called; count what is allowed."""

    def __init__(self, allowed: str = "") -> None:
        super().__init__()
        self.allowed, self.seen = allowed, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        waits = name in OPERATORS
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            by_mask = (torch.bool, torch.uint8)
            waits = any(i is not None and i.dtype in by_mask for i in args[1])
        if name == "repeat_interleave" and isinstance(args[-1], Tensor):
            waits = kwargs.get("output_size") is None
        if waits and name != self.allowed:
            raise Waited(name)
        self.seen += waits
        return func(*args, **kwargs)


class Reads(TorchFunctionMode):
    """Refuse what reads a tensor from Python, of which the dispatcher does not always know."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in READS:
            raise Waited(func.__name__)
        return func(*args, **kwargs or {})


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "can_move", lambda x: x.dtype != torch.float64)
    monkeypatch.setattr(choices, "can_multiply", lambda *_: True)


@contextmanager
def kernels_may_read() -> Iterator[None]:
    """The interpreter itself reads tensors: not what a GPU would wait for."""
    from triton.runtime import interpreter

    run = interpreter.GridExecutor.__call__

    def unwatched(*args: Any, **kwargs: Any) -> Any:
        with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
            return run(*args, **kwargs)

    interpreter.GridExecutor.__call__ = unwatched
    try:
        yield
    finally:
        interpreter.GridExecutor.__call__ = run


def step(layer: MixtureOfExperts, x_TD: Tensor) -> list[Tensor]:
    """Output, balance and all gradients, as a training takes them."""
    torch.manual_seed(2)
    x_TD = x_TD.detach().requires_grad_()
    y_TD, routing = layer(x_TD)
    weights = torch.linspace(-1, 2, y_TD.numel(), dtype=y_TD.dtype).view_as(y_TD)
    loss = (y_TD * weights).sum() + cv_squared(routing.importance_E) + cv_squared(routing.load_E)
    if routing.threshold_loss is not None:
        loss = loss + routing.threshold_loss
    return [y_TD, *torch.autograd.grad(loss, [x_TD, *layer.parameters()])]


def make(**options: Any) -> tuple[MixtureOfExperts, Tensor]:
    torch.manual_seed(1)
    layer = MixtureOfExperts(64, 64, 12, 2, **options)
    for name, weight in layer.named_parameters():
        if "w_gate" in name:
            torch.nn.init.normal_(weight, std=0.3)
        if "w_noise" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return layer, torch.randn(20, 64)


def fixed_noise(x: Tensor) -> Tensor:
    """The same in each precision."""
    return torch.sin(1000 * torch.arange(x.numel(), dtype=torch.float64)).to(x.dtype).view_as(x)


GATES = [
    dict(gating=gating, groups=groups)
    for gating in ("noisy_top_k", "top_k", "strictly_balanced")
    for groups in (1, 3)
]
OTHERS = [
    dict(groups=3, noise_end=0.5, noise_updates=9),
    dict(gating="strictly_balanced", recompute=True),
    dict(gating="strictly_balanced", hidden_dropout=0.2),
]


@pytest.mark.parametrize("options", GATES + OTHERS, ids=str)
def test_no_gate_makes_the_host_wait_in_training(options, as_on_a_gpu):
    layer, x_TD = make(**options)
    with kernels_may_read(), Reads(), Operators():
        step(layer, x_TD)


@pytest.mark.parametrize("options", GATES, ids=str)
def test_how_often_it_waits_in_evaluation(options, as_on_a_gpu):
    """Only for thresholds, once for each level: how many gates are above is in the numbers."""
    layer, x_TD = make(**options)
    layer.eval()
    with torch.no_grad(), kernels_may_read(), Reads(), Operators("nonzero") as counted:
        layer(x_TD)
    levels = 1 if options["groups"] == 1 else 2
    assert counted.seen == levels * (options["gating"] == "strictly_balanced")


@pytest.mark.parametrize("groups", [1, 3])
def test_experts_out_of_reach_are_drawn_on_the_host(groups, as_on_a_gpu):
    """Where ``nonzero`` is of its own memory."""
    layer, x_TD = make(groups=groups, expert_dropout=0.3)
    with kernels_may_read(), Reads(), Operators("nonzero") as counted:
        step(layer, x_TD)
    assert counted.seen == 1


@pytest.mark.parametrize("tokens", [20, 0])
@pytest.mark.parametrize("options", GATES, ids=str)
def test_the_numbers_are_those_of_the_other_path(options, tokens, as_on_a_gpu, monkeypatch):
    layer, x_TD = make(**options)
    monkeypatch.setattr(torch, "randn_like", fixed_noise)
    found = step(layer, x_TD[:tokens])
    monkeypatch.undo()
    monkeypatch.setattr(torch, "randn_like", fixed_noise)
    right = step(layer.double(), x_TD[:tokens].double())
    for one, other in zip(found, right, strict=True):
        assert_close(one, other, 1e-4)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("options", GATES, ids=str)
def test_a_row_that_is_not_finite_ends_in_no_other_error(options, bad, as_on_a_gpu):
    """A place out of bounds would end a GPU's process before it can say what was wrong."""
    layer, x_TD = make(**options)
    x_TD[3] = bad
    x_TD[7, 1] = -bad
    y_TD, routing = layer(x_TD)
    assert not y_TD[3].isfinite().any()
    for index_A, size in ((routing.token_A, 20), (routing.expert_A, 12)):
        assert 0 <= index_A.min() and index_A.max() < size
    assert routing.counts_E.sum() == len(routing.token_A)


def test_a_stack_asks_once_for_its_real_tokens():
    """``nonzero`` in encoder and decoder, however many mixtures they have."""
    options = dict(dim=8, lstm_cells=8, moe_experts=4, moe_hidden_dim=8, moe_k=2)
    layers = dict(encoder_layers=4, decoder_layers=3, encoder_moe_after="1,2,3")
    model = build(config("lstm_moe", options | layers), 20)
    tokens_BS = torch.tensor([[5, 6, 2], [1, 7, 2]])
    with Operators("nonzero") as counted:
        model(tokens_BS, torch.tensor([3, 2]), tokens_BS.flip(1))
    assert counted.seen == 2


def test_a_step_of_a_search_makes_the_host_wait_for_nothing(as_on_a_gpu):
    """Its best words alone are told to the host, once."""
    sizes = dict(dim=16, lstm_cells=16, moe_experts=4, moe_hidden_dim=16, moe_k=2)
    model = build(config("lstm_moe", sizes), 20).eval()
    state: dict[str, Any] = {}
    with torch.no_grad():
        source = model.encoder(torch.tensor([[5, 6, 2], [1, 7, 2]]), torch.tensor([3, 2]))
        shared = model.decoder.share_source(source)
        first, second = torch.tensor([[2], [2]]), torch.tensor([[2, 5], [2, 6]])
        model.decoder(first, encoder_out=shared, incremental_state=state)
        with kernels_may_read(), Reads(), Operators():
            model.decoder.reorder_incremental_state(state, torch.tensor([1, 0]))
            logits_RV, _ = model.decoder(second, encoder_out=shared, incremental_state=state)
    assert logits_RV.shape == (2, 1, 20)
