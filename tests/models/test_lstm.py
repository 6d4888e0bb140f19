"""The LSTM layers against torch's own and against a loop that autograd differentiates."""

import pytest
import torch
from torch import Tensor, nn

from nmt_moe.models.attention import ATTENTIONS
from nmt_moe.models.lstm import LSTM, AttentionLSTM

L, B, S, D, C = 5, 3, 4, 6, 10


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.double, requires_grad=True)


def assert_equal(results: list, expected: list) -> None:
    assert len(results) == len(expected)
    for result, right in zip(results, expected, strict=True):
        torch.testing.assert_close(result, right, rtol=1e-10, atol=1e-10)


def gradients(outputs: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """Of a number to which every element of every output counts differently."""
    torch.manual_seed(2)
    total = sum((x * torch.randn_like(x)).sum() for x in outputs)
    found = torch.autograd.grad(total, inputs, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]


@pytest.mark.parametrize("cells", [C, D])
@pytest.mark.parametrize("steps", [1, L])
def test_an_lstm_is_torchs(cells, steps):
    torch.manual_seed(0)
    layer = LSTM(7, D, cells).double()
    reference = nn.LSTM(7, cells, proj_size=D if cells != D else 0).double()
    reference.load_state_dict(layer.lstm.state_dict())
    inputs = [randn(steps, B, 7), randn(B, D), randn(B, cells)]
    x, h, c = inputs
    out, state = layer(x, (h, c))
    expected, expected_state = reference(x, (h[None], c[None]))
    results = [out, *state]
    right = [expected, *(s[0] for s in expected_state)]
    assert_equal(results, right)
    assert_equal(
        gradients(results, inputs + list(layer.parameters())),
        gradients(right, inputs + list(reference.parameters())),
    )


def test_the_state_is_zero_unless_given():
    layer = LSTM(D, D, C).double()
    x = randn(L, B, D)
    zeros = (torch.zeros(B, D).double(), torch.zeros(B, C).double())
    assert_equal([layer(x)[0]], [layer(x, zeros)[0]])


def attend_in_a_loop(layer, attention, x_LBD, keys, source, pad, h_BD, c_BC):
    outputs, contexts, weights = [], [], []
    for x_BD in x_LBD:
        context_BD, weights_BS = attention(h_BD, keys, source, pad)
        sums = x_BD @ layer.w_input.t() + layer.b_input + layer.b_recurrent
        sums = sums + torch.cat([context_BD, h_BD], 1) @ layer.w_recurrent.t()
        i, f, g, o = sums.chunk(4, 1)
        c_BC = f.sigmoid() * c_BC + i.sigmoid() * g.tanh()
        h_BD = o.sigmoid() * c_BC.tanh()
        h_BD = h_BD if layer.projection is None else layer.projection(h_BD)
        outputs.append(h_BD)
        contexts.append(context_BD)
        weights.append(weights_BS)
    return torch.stack(outputs), torch.stack(contexts), torch.stack(weights, 1), h_BD, c_BC


@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize("cells", [C, D])
@pytest.mark.parametrize("used", [[0], [0, 1], [0, 1, 2, 3, 4], [2], [4]])
def test_the_layer_with_attention_is_the_loop(kind, cells, used):
    torch.manual_seed(0)
    layer, attention = AttentionLSTM(D, cells).double(), ATTENTIONS[kind](D).double()
    nn.init.normal_(attention.v)
    x, source, h, c = inputs = [randn(L, B, D), randn(B, S, D), randn(B, D), randn(B, cells)]
    pad = torch.zeros(B, S, dtype=torch.bool)
    pad[1, :2] = pad[2] = True  # the last one is padding only
    keys = attention.keys(source)
    out, context, attn, state = layer(x, attention, keys, source, pad, (h, c))
    results = [out, context, attn, *state]
    right = list(attend_in_a_loop(layer, attention, x, keys, source, pad, h, c))
    assert_equal(results, right)
    inputs += [*layer.parameters(), *attention.parameters()]
    assert_equal(
        gradients([results[i] for i in used], inputs), gradients([right[i] for i in used], inputs)
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_autocast_decides_the_precision(dtype):
    layer, attention = AttentionLSTM(D, C), ATTENTIONS["additive"](D)
    plain = LSTM(D, D, C)
    x, source = torch.randn(L, B, D), torch.randn(B, S, D)
    pad = torch.zeros(B, S, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        y, _ = plain(x)
        z, *_ = layer(x, attention, attention.keys(source), source, pad)
    assert y.dtype == z.dtype == dtype
    (y.float().sum() + z.float().sum()).backward()
    for parameter in [*plain.parameters(), *layer.parameters()]:
        assert parameter.grad is not None and parameter.grad.dtype == torch.float32
