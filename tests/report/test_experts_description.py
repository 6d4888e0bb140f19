import pytest

from nmt_moe.plan import counts
from nmt_moe.report.experts.description import describe
from tests.report.experts import random_model


@pytest.mark.parametrize(
    "options",
    [
        dict(arch="lstm_moe"),
        dict(arch="lstm_moe", encoder_bidirectional=True, lstm_cells=12, attention="additive"),
        dict(arch="lstm_moe", attention_residual=True, moe_gating="strictly_balanced"),
        dict(arch="lstm_moe", moe_groups=3, moe_gating="strictly_balanced"),
        dict(arch="lstm_moe", feed_forward="deep", encoder_moe_after="1,2"),
        dict(arch="lstm_moe", feed_forward="none"),
        dict(arch="lstm_moe_lm", moe_after="1,2"),
        dict(arch="lstm_moe_lm", share_decoder_input_output_embed=True),
        dict(arch="lstm_moe", share_all_embeddings=True, output_attention=True),
    ],
    ids=str,
)
def test_blocks_have_all_parameters(options) -> None:
    trained = random_model(**options)
    found = describe(trained.model, trained.cfg.model)
    assert found["parameters"] == counts.parameters(trained.model)
    assert found["parameters_active"] == counts.parameters_active(trained.model)
    assert found["ops_per_timestep"] == sum(found["ops"].values())
    blocks = [block for stack in found["stacks"] for block in stack["blocks"]]
    assert sum(block["parameters"] for block in blocks) == found["parameters"]
    active = sum(block["active"] for block in blocks if block["kind"] != "softmax")
    active += found["ops"].get("projection", 0)
    assert active == found["parameters_active"]
    layers = [block["layer"] for block in blocks if block["kind"] == "experts"]
    assert layers == list(counts.mixtures(trained.model))


def test_blocks_stand_in_their_order() -> None:
    trained = random_model("lstm_moe", encoder_bidirectional=True, encoder_moe_after="1,2")
    encoder, decoder = describe(trained.model, trained.cfg.model)["stacks"]
    assert (encoder["name"], decoder["name"]) == ("encoder", "decoder")
    assert [block["kind"] for block in encoder["blocks"]] == [
        *("embedding", "lstm", "experts", "lstm", "experts", "lstm"),
    ]
    assert [block["kind"] for block in decoder["blocks"]] == [
        *("embedding", "attention_lstm", "experts", "lstm", "softmax"),
    ]
    assert [block["label"] for block in encoder["blocks"][1:3]] == ["LSTM 1", "6 experts"]
    assert encoder["blocks"][1]["detail"] == "8 cells, 8 wide, both directions"
    assert encoder["blocks"][2]["detail"] == ("2 of 6 for each token, hidden width 6, noisy_top_k")
    assert encoder["blocks"][2]["layer"] == "encoder.1"


def test_the_second_attention_comes_before_the_softmax() -> None:
    trained = random_model("lstm_moe", output_attention=True)
    _, decoder = describe(trained.model, trained.cfg.model)["stacks"]
    *_, attention, softmax = decoder["blocks"]
    assert (attention["label"], softmax["kind"]) == ("second attention", "softmax")
    assert (attention["detail"], attention["parameters"]) == ("8 wide", 2 * 8 * 8)


def test_twins_without_experts() -> None:
    trained = random_model("lstm_moe", feed_forward="dense")
    encoder, _ = describe(trained.model, trained.cfg.model)["stacks"]
    [dense] = [block for block in encoder["blocks"] if block["kind"] == "dense"]
    assert (dense["detail"], dense["layer"]) == ("hidden width 12", None)
