"""A new model starts alike at any width: variances are those that are promised, softmaxes even."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from nmt_moe.models.architectures import build, config
from nmt_moe.models.attention import ATTENTIONS, OutputAttention, attention_weights
from nmt_moe.models.feed_forward import FeedForward
from nmt_moe.models.lstm import LSTM, AttentionLSTM
from nmt_moe.moe import MixtureOfExperts, Routing
from nmt_moe.moe.gating import GATES

B, L, S, WORDS = 4, 8, 8, 1000
WIDTHS = [(64, 64), (64, 256), (512, 512), (512, 2048), (2048, 2048)]
OF_A_SQUARE = {LSTM: 0.02, AttentionLSTM: 0.03, "dense": 1 / 18, "output": 1 / 3, "residual": 1 / 3}
"""Variance of the output for each 1 of the input's mean square."""


def make(arch: str, dim: int, cells: int, **options: object) -> nn.Module:
    torch.manual_seed(1)
    sizes = dict(dim=dim, lstm_cells=cells, moe_hidden_dim=64, moe_experts=8, moe_k=4)
    return build(config(arch, sizes | options), WORDS)


def words(length: int) -> Tensor:
    return torch.randint(4, WORDS, (B, length))


@contextmanager
def watched(model: nn.Module) -> Iterator[dict[str, tuple[float, float]]]:
    """Of the kinds in ``OF_A_SQUARE`` the variance of each output and what is promised of it."""
    found: dict[str, tuple[float, float]] = {}

    def hook(name: str, kind: object) -> Callable:
        def note(module: nn.Module, inputs: tuple, output: Tensor | tuple) -> None:
            y = output if isinstance(output, Tensor) else output[0]
            promised = OF_A_SQUARE[kind] * inputs[0].square().mean()
            found[name] = y.var().item(), promised.item()

        return note

    handles = []
    for name, module in model.named_modules():
        last = name.split(".")[-1]
        kind = type(module) if type(module) in OF_A_SQUARE else last
        if kind in OF_A_SQUARE:
            handles.append(module.register_forward_hook(hook(name, kind)))
    yield found
    for handle in handles:
        handle.remove()


def evenness(probability: Tensor) -> float:
    """Entropy over its maximum, mean over the rows; 1: uniform."""
    return (torch.special.entr(probability).sum(-1).mean() / math.log(probability.shape[-1])).item()


def assert_kept(found: dict[str, tuple[float, float]], layers: int) -> None:
    assert len(found) == layers
    for name, (variance, promised) in found.items():
        assert promised / 2 < variance < promised * 2, (name, variance, promised)


@torch.no_grad()
@pytest.mark.parametrize(("dim", "cells"), WIDTHS)
def test_translation(dim, cells):
    layers = dict(encoder_layers=1, decoder_layers=1) if dim > 512 else dict(encoder_layers=2)
    places = dict(encoder_moe_after="1", decoder_moe_after="1", attention_residual=True)
    places |= dict(share_all_embeddings=dim == cells)
    model = make("lstm_moe", dim, cells, **layers, **places, encoder_bidirectional=True).eval()
    source, target = words(S), words(L)
    for kind, make_attention in ATTENTIONS.items():
        model.decoder.attention = attention = make_attention(dim, residual=True)
        with watched(model) as found:
            logits, extra = model(source, None, target)
        assert_kept(found, len(model.encoder.layers) + 1 + len(model.decoder.layers) + 2)
        assert evenness(logits.softmax(2)) > 0.95
        assert evenness(extra["attn"][0]) > 0.97, kind
        for routed in extra["routing"].values():
            assert_near_uniform(routed, 4)
        # Queries as large as the outputs of later layers, and not only those of the start.
        x_BSD = model.encoder(source)["encoder_out"][0].transpose(0, 1)
        third = x_BSD.square().mean().item() / 3
        assert attention.source(x_BSD).var().item() == pytest.approx(third, rel=0.4)
        assert attention.query(torch.randn(99, dim)).var().item() == pytest.approx(1 / 3, rel=0.2)
        query_BD = torch.randn(B, dim)
        pad_BS = torch.zeros(B, S, dtype=torch.bool)
        _, weights_BS = attention(query_BD, attention.keys(x_BSD), x_BSD, pad_BS)
        assert evenness(weights_BS) > 0.94, kind
    embedded = model.decoder.embedding(target) * dim**0.5
    assert embedded.var().item() == pytest.approx(1, rel=0.05)


@torch.no_grad()
@pytest.mark.parametrize("dim", [64, 512, 2048])
def test_output_attention(dim):
    torch.manual_seed(1)
    module = OutputAttention(dim)
    x_BLD, source_BSD = torch.randn(B, L, dim), torch.randn(B, S, dim)
    with watched(module) as found:
        module(x_BLD, source_BSD, torch.zeros(B, S, dtype=torch.bool))
    assert_kept(found, 1)
    query_ND = module.query(x_BLD).flatten(0, 1) * dim**-0.5
    weights_NS = attention_weights(query_ND, source_BSD, torch.zeros(B, S).bool(), None, False)
    assert evenness(weights_NS) > 0.9


@torch.no_grad()
@pytest.mark.parametrize(("dim", "cells"), WIDTHS)
def test_language_model(dim, cells):
    tied = dict(share_decoder_input_output_embed=dim == cells)
    model = make("lstm_moe_lm", dim, cells, layers=1 if dim > 512 else 2, **tied).eval()
    with watched(model) as found:
        logits, extra = model(words(L))
    assert_kept(found, len(model.decoder.layers) + 1)
    assert evenness(logits.softmax(2)) > 0.95
    assert_near_uniform(extra["routing"]["decoder.1"], 4)


def assert_near_uniform(routed: Routing, experts: int) -> None:
    """That the gates of a token that several experts see are nearly equal."""
    gate_TA = torch.zeros(int(routed.token_A.max()) + 1, int(routed.expert_A.max()) + 1)
    gate_TA[routed.token_A, routed.expert_A] = routed.gate_A
    entropy_T, number_T = torch.special.entr(gate_TA).sum(1), (gate_TA > 0).sum(1)
    several_T = number_T > 1
    assert several_T.any()
    assert (entropy_T / number_T.log())[several_T].mean() > 0.9


@torch.no_grad()
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("gating", GATES)
@pytest.mark.parametrize("dim", [64, 512, 2048])
def test_gates_and_experts(dim, gating, groups):
    torch.manual_seed(1)
    layer = MixtureOfExperts(dim, 64, 16, 4 if groups == 1 else 2, gating, groups).train()
    x_TD = torch.randn(200, dim)
    y_TD, routed = layer(x_TD)
    assert_near_uniform(routed, 4)
    promised = 0.5 * routed.gate_A.square().sum() / len(x_TD)
    assert y_TD.var().item() == pytest.approx(promised.item(), rel=0.25)


@torch.no_grad()
@pytest.mark.parametrize("feed_forward", ["dense", "deep"])
@pytest.mark.parametrize("dim", [64, 512, 2048])
def test_twins_without_experts(dim, feed_forward):
    torch.manual_seed(1)
    sizes = dict(dim=dim, moe_hidden_dim=max(dim // 4, 64), moe_k=4, dropout=0.0)
    module = FeedForward(config("lstm_moe", sizes | dict(feed_forward=feed_forward)))
    x_TD = torch.randn(50, dim)
    variance = module.dense(x_TD).var().item()
    assert OF_A_SQUARE["dense"] / 2 < variance < OF_A_SQUARE["dense"] * 2
    change = module(x_TD.unsqueeze(1), torch.arange(50))[0].squeeze(1) - x_TD
    assert change.mean().item() == pytest.approx(0.5, abs=0.02)
    assert change.var().item() == pytest.approx(variance / 16, rel=0.1)
