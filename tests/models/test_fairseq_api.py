"""What fairseq's own code and its users ask of a model, by fairseq's names."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic

from tests.models.build import SOURCE, TARGET, build_model, pad_batch


def inputs(arch: str) -> dict[str, Any]:
    source, target = pad_batch(SOURCE, 1, left=True), pad_batch(TARGET, 1, left=False)
    if arch == "lstm_moe_lm":
        return {"src_tokens": target, "src_lengths": None}
    return {"src_tokens": source, "src_lengths": None, "prev_output_tokens": target}


@pytest.mark.parametrize("arch", ["lstm_moe", "lstm_moe_lm"])
def test_logits_are_made_of_the_features(arch: str) -> None:
    torch.manual_seed(0)
    model, sample = build_model(arch).eval(), inputs(arch)
    logits_BLV, extra = model(**sample)
    features_BLD, with_features = model.extract_features(**sample)
    assert features_BLD.shape == (3, 6, 8) and extra.keys() == with_features.keys()
    assert torch.equal(model.output_layer(features_BLD), logits_BLV)
    assert torch.equal(model(**sample, features_only=True)[0], features_BLD)
    log_probabilities = model.get_normalized_probs((logits_BLV, extra), log_probs=True)
    torch.testing.assert_close(log_probabilities.exp().sum(2), torch.ones(3, 6))


def test_embeddings_have_fairseqs_names_and_parameters_their_own() -> None:
    model = build_model()
    assert model.encoder.embed_tokens.weight is model.encoder.embedding.weight
    assert model.decoder.embed_tokens.weight is model.decoder.embedding.weight
    assert not [name for name in model.state_dict() if "embed_tokens" in name]
    assert model.max_positions() == (100_000, 100_000)


def test_an_encoder_is_called_as_fairseqs_search_calls_it() -> None:
    model, sample = build_model().eval(), inputs("lstm_moe")
    [again] = model.encoder.forward_torchscript(sample)["encoder_out"]
    [x_SBD] = model.encoder(sample["src_tokens"])["encoder_out"]
    assert torch.equal(again, x_SBD)


@pytest.mark.parametrize("arch", ["lstm_moe", "lstm_moe_lm"])
def test_a_copy_of_a_model_computes_the_same(arch: str) -> None:
    model, sample = build_model(arch).eval(), inputs(arch)
    copied = copy.deepcopy(model).share_memory()
    assert torch.equal(copied(**sample)[0], model(**sample)[0])
    for precision in (torch.float64, torch.bfloat16, torch.float16):
        logits_BLV, _ = copied.to(precision)(**sample)
        assert logits_BLV.dtype == precision and logits_BLV.isfinite().all()


@pytest.mark.parametrize(
    "options",
    [{}, {"lstm_cells": 48}, {"feed_forward": "dense", "share_decoder_input_output_embed": True}],
)
def test_torch_quantizes_what_it_can(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model, sample = build_model(dim=32, **{"lstm_cells": 32} | options).eval(), inputs("lstm_moe")
    quantized = quantize_dynamic(model, {nn.Linear, nn.LSTM}, dtype=torch.qint8)
    left = [module for module in quantized.modules() if type(module) in (nn.Linear, nn.LSTM)]
    parts = [module for module in quantized.modules() if "quantized" in type(module).__module__]
    assert not left and len(parts) >= 3
    with torch.no_grad():
        exact, rounded = model(**sample)[0], quantized(**sample)[0]
    assert 0 < (rounded - exact).abs().max() < 0.1 * exact.std()
    again = copy.deepcopy(quantized)(**sample)[0]
    assert torch.equal(again, rounded)
