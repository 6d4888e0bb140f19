"""The recurrence in C, in float32 and bfloat16, against the loop of torch in float64."""

import copy

import pytest
import torch
from torch import Tensor, nn

from nmt_moe.kernels.cpu import bfloat16, product, recurrence
from nmt_moe.kernels.cpu.extension import library
from nmt_moe.models.attention import ATTENTIONS
from nmt_moe.models.dropout import constant_mask
from nmt_moe.models.lstm import LSTM, AttentionLSTM
from tests.compiled import skip_unless_compiled

skip_unless_compiled()
if not library.products_instructions():
    pytest.skip("recurrence.c needs AVX-512", allow_module_level=True)

NARROW = pytest.param(
    True, marks=pytest.mark.skipif(not bfloat16.in_c(), reason="no bfloat16 here"), id="bfloat16"
)
SIZES = [(6, 10, 5, 3, 4), (7, 33, 3, 1, 1), (48, 48, 3, 30, 5), (64, 96, 4, 17, 19)]


@pytest.fixture(autouse=True, params=[1, 2])
def threads(request, monkeypatch):
    monkeypatch.setattr(product, "_SMALL", 0)
    monkeypatch.setattr(product, "usable", lambda _: True)
    monkeypatch.setattr(recurrence, "_SMALL", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def results(modules: list[nn.Module], inputs: list[Tensor], pad_BS: Tensor) -> list[Tensor]:
    """Outputs and gradients of a layer with attention and of one without."""
    layer, attention, plain = modules
    x_LBD, source_BSD, h_BD, c_BC = inputs
    keys = attention.keys(source_BSD)
    y, context, weights, last = layer(x_LBD, attention, keys, source_BSD, pad_BS, (h_BD, c_BC))
    z, after = plain(x_LBD, (h_BD, c_BC))
    outputs = [y, context, weights, *last, z, *after]
    torch.manual_seed(2)
    total = sum((v.double() * torch.randn(v.shape).double()).sum() for v in outputs)
    parameters = [p for module in modules for p in module.parameters()]
    return outputs + list(torch.autograd.grad(total, inputs + parameters))


class Fixed(nn.Module):
    """The same factors in each call."""

    def __init__(self, mask_BM: Tensor) -> None:
        super().__init__()
        self.mask_BM = mask_BM

    def forward(self, x_LBD: Tensor, width: int, attends: bool = False) -> tuple[Tensor, Tensor]:
        return x_LBD, self.mask_BM


@pytest.mark.parametrize("narrow", [pytest.param(False, id="float32"), NARROW])
@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize(
    ("sizes", "masked"),
    [*((sizes, False) for sizes in SIZES), (SIZES[1], True), (SIZES[2], True)],
)
def test_outputs_and_gradients(sizes, kind, narrow, masked):
    dim, cells, steps, batch, positions = sizes
    torch.manual_seed(0)
    modules = [AttentionLSTM(dim, cells), ATTENTIONS[kind](dim), LSTM(dim, dim, cells)]
    if kind != "dot":
        nn.init.normal_(modules[1].v)
    if masked:
        modules[0].dropout = Fixed(constant_mask(torch.ones(1, batch, 1), 2 * dim, 0.3))
        modules[2].dropout = Fixed(constant_mask(torch.ones(1, batch, 1), dim, 0.5))
    shapes = [(steps, batch, dim), (batch, positions, dim), (batch, dim), (batch, cells)]
    inputs = [torch.randn(shape, requires_grad=True) for shape in shapes]
    pad_BS = torch.zeros(batch, positions, dtype=torch.bool)
    pad_BS[0, 1:] = True
    wide = [copy.deepcopy(module).double() for module in modules]
    doubles = [x.detach().double().requires_grad_() for x in inputs]
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        found = results(modules, inputs, pad_BS)
    expected = results(wide, doubles, pad_BS)
    limit = 4e-2 if narrow else 1e-5
    for a, b in zip(found, expected, strict=True):
        assert (a.double() - b).abs().max() <= limit * b.abs().max()
    assert (found[2][0, :, 1:] == 0).all()  # nothing is read of padding


def test_a_sentence_of_padding_only_has_no_context():
    torch.manual_seed(0)
    layer, attention = AttentionLSTM(8, 16), ATTENTIONS["multiplicative"](8)
    x_LBD, source_BSD = torch.randn(3, 2, 8), torch.randn(2, 5, 8, requires_grad=True)
    pad_BS = torch.tensor([[False] * 5, [True] * 5])
    keys = attention.keys(source_BSD)
    y, context, weights, _ = layer(x_LBD, attention, keys, source_BSD, pad_BS)
    assert (context[:, 1] == 0).all() and (weights[1] == 0).all()
    (y.sum() + context.sum()).backward()
    assert (source_BSD.grad[1] == 0).all() and source_BSD.grad[0].isfinite().all()


def test_a_sentence_does_not_depend_on_the_others():
    torch.manual_seed(0)
    layer, x_LBD = LSTM(24, 24, 40), torch.randn(5, 30, 24)
    whole, _ = layer(x_LBD)
    for part in (slice(0, 1), slice(7, 22)):
        assert torch.equal(layer(x_LBD[:, part])[0], whole[:, part])


def test_functions_are_right_to_the_last_bits():
    """At every size of number, through a step without a recurrent part."""
    x = torch.cat([torch.logspace(-30, 2, 4000), torch.tensor([0.0, 0.3, 0.62499, 0.625, 1e30])])
    x = torch.cat([x, -x])
    layer = LSTM(1, len(x), len(x))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        # Gates: input, forget, candidate, output.
        inputs_LBG = torch.cat([torch.full_like(x, 50), x * 0, x, torch.full_like(x, 50)])[
            None, None
        ]
        weights = recurrence.Weights(layer.lstm.weight_hh_l0, None)
        zero = torch.zeros(1, len(x))
        made = recurrence.forward(inputs_LBG.clone(), zero, zero, weights, None, product.FLOAT32)
    right = x.double().tanh()
    assert ((made.c_LBC[1, 0] - right).abs() <= 4e-7 * right.abs() + 1e-38).all()
    right = right.float().double().tanh()
    assert ((made.out_LBC[0, 0] - right).abs() <= 8e-7 * right.abs() + 1e-38).all()
    gates = recurrence.forward(
        torch.cat([x] * 4)[None, None], zero, zero, weights, None, product.FLOAT32
    ).gates_LBG[0, 0, : len(x)]
    right = x.double().sigmoid()
    assert ((gates - right).abs() <= 4e-7 * right + 1e-37).all()


def test_nan_stays():
    layer, x_LBD = LSTM(8, 8, 16), torch.zeros(3, 2, 8)
    x_LBD[1, 1, 2] = float("nan")
    out_LBD, _ = layer(x_LBD)
    assert out_LBD[:, 0].isfinite().all() and out_LBD[0].isfinite().all()
    assert out_LBD[1:, 1].isnan().all()
