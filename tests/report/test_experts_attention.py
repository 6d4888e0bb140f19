"""The health of a model's attention in a report and in the summary of a run."""

import json

import pytest
import torch

from nmt_moe.cli import report as report_command
from nmt_moe.report import summary
from nmt_moe.report.experts.analyse import analyse
from tests.report.experts import data_of, pairs, random_model
from tests.report.test_summary import make_run


def deaden(model: torch.nn.Module) -> None:
    """Let the first source position with a large number win every step."""
    attention = model.decoder.attention
    torch.nn.init.zeros_(attention.query.weight)
    torch.nn.init.normal_(attention.source.weight, std=3)
    torch.nn.init.constant_(attention.v, 1e4)


@pytest.mark.parametrize("attention", ["additive", "multiplicative"])
def test_figures_are_those_of_single_sentences(attention):
    trained = random_model(arch="lstm_moe", attention=attention)
    found = pairs(trained.task.source_dictionary, 30)
    made = analyse(trained, data_of(found), None, [], None, 30)["attention"]
    entropy = top = last = steps = 0.0
    for source, target in found:
        read = torch.cat([target[-1:], target[:-1]])
        with torch.no_grad():
            attn = trained.model(source[None], None, read[None])[1]["attn"][0][0]
        steps += len(attn)
        entropy -= (attn * attn.log2()).sum().item()
        top += attn.max(1).values.sum().item()
        last += attn[:, -1].sum().item()
    assert made["entropy"] == pytest.approx(entropy / steps, abs=2e-3)
    assert made["top_share"] == pytest.approx(top / steps, abs=2e-3)
    assert made["last_share"] == pytest.approx(last / steps, abs=2e-3)
    assert not made["dead"] and made["verdict"].startswith("Attention follows the source: 0%")


def test_dead_attention_is_said():
    trained = random_model(arch="lstm_moe", attention="additive", encoder_bidirectional=True)
    deaden(trained.model)
    found = [pair for pair in pairs(trained.task.source_dictionary, 40) if len(pair[0]) > 4]
    made = analyse(trained, data_of(found), None, [], None, 30)
    assert made["attention"]["dead"] and made["attention"]["entropy"] < 0.5
    assert made["attention"]["verdict"].startswith("Attention is dead: ")
    line = report_command.summary(made)
    assert line.startswith("attention DEAD (0.") and "on the last)" in line


def test_a_language_model_has_none():
    trained = random_model(arch="lstm_moe_lm")
    found = [(None, target) for _, target in pairs(trained.task.source_dictionary, 5)]
    made = analyse(trained, data_of(found), None, [], None, 30)
    assert made["attention"] is None
    assert report_command.summary(made).startswith("1 layers")


@pytest.mark.parametrize("stuck", [0.02, 0.9])
def test_the_summary_of_a_run_says_it(stuck, tmp_path, capsys):
    run = make_run(tmp_path)
    figures = dict(entropy=0.31, top_share=0.93, last_share=0.89, stuck=stuck)
    record = {"epoch": 3, "valid_loss": "2.0"}
    record |= {f"valid_attention_{name}": str(value) for name, value in figures.items()}
    with (run / "training/train.log").open("a") as log:
        log.write(f"2026-01-01 | INFO | valid | {json.dumps(record)}\n")
    assert summary.main([str(run)]) == 0
    text = capsys.readouterr().out
    assert "attention, validation after epoch 3:\n0.31 bits, 0.93 of the weight on the top" in text
    assert ("it is DEAD: 90% of the steps stay with one position" in text) == (stuck > 0.75)
