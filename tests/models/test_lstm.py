"""The LSTM layers against torch's own and against a loop that autograd differentiates."""

import pytest
import torch
from torch import Tensor, nn

from nmt_moe.models.attention import ATTENTIONS
from nmt_moe.models.dropout import Constant
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


def attend_in_a_loop(layer, attention, x_LBD, keys, source, pad, h_BD, c_BC, mask_BM=1):
    outputs, contexts, weights = [], [], []
    for x_BD in x_LBD:
        context_BD, weights_BS = attention(h_BD, keys, source, pad)
        sums = x_BD @ layer.w_input.t() + layer.b_input + layer.b_recurrent
        sums = sums + (torch.cat([context_BD, h_BD], 1) * mask_BM) @ layer.w_recurrent.t()
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
    if kind != "dot":
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


class Drawn(Constant):
    """Keeps what it has drawn."""

    def forward(self, x_LBD, width, attends=False):
        y_LBD, self.mask_BM = super().forward(x_LBD, width, attends)
        self.inputs_LBD = y_LBD
        return y_LBD, self.mask_BM


@pytest.mark.parametrize("shares", [(0.5, 0.0), (0.0, 0.5), (0.3, 0.5)])
@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize("cells", [C, D])
def test_dropout_of_the_layer_with_attention_is_the_loops(kind, cells, shares):
    torch.manual_seed(0)
    layer, attention = (
        AttentionLSTM(D, cells, Drawn(*shares)).double(),
        ATTENTIONS[kind](D).double(),
    )
    if kind != "dot":
        nn.init.normal_(attention.v)
    x, source, h, c = inputs = [randn(L, B, D), randn(B, S, D), randn(B, D), randn(B, cells)]
    pad = torch.zeros(B, S, dtype=torch.bool)
    pad[1, :2] = True
    keys = attention.keys(source)
    out, context, attn, state = layer(x, attention, keys, source, pad, (h, c))
    drawn = layer.dropout
    assert (drawn.mask_BM == 0).any()
    right = attend_in_a_loop(
        layer, attention, drawn.inputs_LBD, keys, source, pad, h, c, drawn.mask_BM
    )
    results, right = [out, context, attn, *state], list(right)
    assert_equal(results, right)
    inputs += [*layer.parameters(), *attention.parameters()]
    assert_equal(gradients(results, inputs), gradients(right, inputs))


@pytest.mark.parametrize("cells", [C, D])
def test_dropout_of_an_lstm_is_the_loops(cells):
    torch.manual_seed(0)
    layer = LSTM(7, D, cells, Drawn(0.3, 0.5)).double()
    x, h, c = inputs = [randn(L, B, 7), randn(B, D), randn(B, cells)]
    out, state = layer(x, (h, c))
    mask_BD, w = layer.dropout.mask_BM, dict(layer.lstm.named_parameters())
    outputs, h_BD, c_BC = [], h, c
    for x_BI in layer.dropout.inputs_LBD:
        sums = x_BI @ w["weight_ih_l0"].t() + w["bias_ih_l0"] + w["bias_hh_l0"]
        i, f, g, o = (sums + (h_BD * mask_BD) @ w["weight_hh_l0"].t()).chunk(4, 1)
        c_BC = f.sigmoid() * c_BC + i.sigmoid() * g.tanh()
        h_BD = o.sigmoid() * c_BC.tanh()
        h_BD = h_BD @ w["weight_hr_l0"].t() if cells != D else h_BD
        outputs.append(h_BD)
    results, right = [out, *state], [torch.stack(outputs), h_BD, c_BC]
    assert_equal(results, right)
    inputs += list(layer.parameters())
    assert_equal(gradients(results, inputs), gradients(right, inputs))


def test_dropout_is_the_same_in_every_step_and_as_frequent_as_asked_for():
    torch.manual_seed(0)
    drawn, mask_BM = Constant(0.3, 0.6)(torch.ones(3, 200, 50), 40, attends=True)
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])
    for x, share in [(drawn[0], 0.3), (mask_BM[:, :40], 0.3), (mask_BM[:, 40:], 0.6)]:
        assert x.unique().tolist() == pytest.approx([0, 1 / (1 - share)])
        error = 4 * (share * (1 - share) / x.numel()) ** 0.5
        assert abs((x == 0).double().mean().item() - share) < error
        assert not torch.equal(x[0], x[1])  # each sentence has its own


def test_evaluation_knows_no_dropout():
    layer, attention = AttentionLSTM(D, C, Constant(0.5, 0.5)), ATTENTIONS["additive"](D)
    plain = LSTM(D, D, C, Constant(0.5, 0.5))
    x, source = torch.randn(L, B, D), torch.randn(B, S, D)
    pad = torch.zeros(B, S, dtype=torch.bool)
    found = []
    for module in (layer.eval(), plain.eval()):
        for dropout in (module.dropout, Constant()):
            module.dropout = dropout
            more = (attention, attention.keys(source), source, pad) if module is layer else ()
            found.append(module(x, *more)[0])
    assert torch.equal(found[0], found[1]) and torch.equal(found[2], found[3])
