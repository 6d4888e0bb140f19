"""Operations and parameters: the paper's figures, and what a forward pass really multiplies."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nmt_moe.kernels.cpu import product
from nmt_moe.models.architectures import LANGUAGE, build, config
from nmt_moe.plan import counts
from nmt_moe.plan.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
# Of each model ops/timestep and parameters in millions, of language models (tables 7 and 8) without
# embedding and softmax.
SIZES = json.loads((ROOT / "docs/paper.json").read_text())["sizes"]
PRINTED = {arch: SIZES[arch] for arch in LANGUAGE if arch in SIZES}
# Half of the last digit, and a little: MoE-256 does 8.651 M operations, and torch's second vector
# of biases in an LSTM makes LSTM-2048-512 9.454 M parameters and MoE-65536-h 68791.050 M.
CLOSE = 0.055
SMALL = dict(dim=8, lstm_cells=12, moe_experts=8, moe_k=2, moe_hidden_dim=6, dropout=0)
VOCABULARY = 30


def planned(capsys, *arguments):
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("arch", PRINTED)
def test_language_models_have_the_printed_size(arch, capsys):
    figures = planned(capsys, "--arch", arch)
    ops, parameters = PRINTED[arch]
    assert abs(figures["ops_per_timestep"] / 1e6 - ops) < CLOSE
    assert abs(figures["parameters_without_embedding_and_softmax"] / 1e6 - parameters) < CLOSE


@pytest.mark.parametrize(
    ("arch", "ops"), [("lstm_moe_wmt14_2048h", 85), ("lstm_moe_multilingual", 102)]
)
def test_translation_models_have_the_printed_size(arch, ops, capsys):
    figures = planned(capsys, "--arch", arch)
    assert abs(figures["ops_per_timestep"] / 1e6 - ops) < 1
    assert 8.65e9 < figures["parameters"] < 8.75e9


def test_the_operations_of_the_32_expert_model_by_hand(capsys):
    kinds = planned(capsys, "--arch", "lstm_moe_wmt14_32")["ops_by_kind"]
    lstm = 4 * 2048 * (512 + 512) + 2048 * 512
    assert kinds["lstm"] == 4 * lstm + lstm + 4 * 2048 * 512  # decoder 1 reads a context, too
    assert kinds["experts"] == 2 * 4 * 2 * 512 * 2048
    assert kinds["gates"] == 2 * 512 * 32  # strictly balanced gates have no W_noise
    assert kinds["attention"] == 2 * 512 * 512
    assert kinds["softmax"] == 512 * 32_000


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("lstm_moe_lm", {}),
        ("lstm_moe_lm", dict(moe_groups=4)),
        ("lstm_moe_lm", dict(feed_forward="deep")),
        ("lstm_moe_lm", dict(share_decoder_input_output_embed=True)),
        ("lstm_moe", {}),
        ("lstm_moe", dict(moe_shared_expert=True)),
        ("lstm_moe", dict(share_all_embeddings=True)),
        ("lstm_moe", dict(moe_groups=2, attention="additive", attention_residual=True)),
        ("lstm_moe", dict(encoder_bidirectional=True, decoder_layers=3, decoder_moe_after="1,3")),
        ("lstm_moe", dict(output_attention=True, decoder_residual_from=2)),
    ],
)
def test_a_forward_pass_multiplies_as_much(arch, options, monkeypatch):
    monkeypatch.setattr(product, "usable", lambda _: False)  # torch counts its own products
    torch.manual_seed(0)
    model = build(config(arch, SMALL | options), VOCABULARY)  # in training: with W_noise
    tokens = torch.randint(4, VOCABULARY, (5, 7))
    arguments = (tokens,) if arch in LANGUAGE else (tokens, None, tokens.roll(1, 1))
    with FlopCounterMode(display=False) as counter:  # without projections oneDNN's LSTM hides
        model(*arguments)
    multiply_adds = counter.get_total_flops() // 2
    # The attention's scores and its weighted sum multiply activations, not weights.
    multiply_adds -= counter.get_flop_counts()["Global"].get(torch.ops.aten.bmm, 0) // 2
    operations = counts.operations(model)
    if arch in LANGUAGE:
        operations["softmax"] = SMALL["dim"] * VOCABULARY
    assert sum(operations.values()) * tokens.numel() == multiply_adds


def test_a_token_meets_its_experts_and_the_gates_of_its_groups(capsys):
    figures = planned(capsys, "--arch", "lstm_moe_lm_256h")
    experts, gates = 4 * 2 * 512 * 1024, 2 * 512 * (16 + 2 * 16)
    biases = 2 * 2 * 4 * 512
    assert figures["parameters_active_per_token"] == 2 * 4 * 512 * 1024 + experts + gates + biases


@pytest.mark.parametrize("arch", ["lstm_moe_wmt14_dense", "lstm_moe_lm_1_deep", "lstm_lm_4x512"])
def test_all_of_a_dense_model_is_active(arch, capsys):
    figures = planned(capsys, "--arch", arch)
    without = figures["parameters_without_embedding_and_softmax"]
    assert figures["parameters_active_per_token"] == without
    assert figures["parameters_in_experts"] == 0
    tables = 3 if arch == "lstm_moe_wmt14_dense" else 2  # embeddings, softmax
    assert figures["parameters"] - without == tables * 512 * 32_000
