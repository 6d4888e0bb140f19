"""The tables about several trainings, from their logs."""

import json
from pathlib import Path

import pytest
import torch

from nmt_moe.common.table import markdown
from nmt_moe.report import series

EVALUATED = """\
2026-01-01 | INFO | fairseq_cli.eval_lm | Evaluated 1,200 tokens in 0.1s (9.10 tokens/s)
2026-01-01 | INFO | fairseq_cli.eval_lm | Loss (base 2): 3.0000, Perplexity: 8.00
"""


def log(folder: Path, layer: str, updates: list[int], **shown: float) -> None:
    """A training whose figures grow with its updates, validated at the end."""
    folder.mkdir(parents=True)
    with (folder / "train.log").open("w") as file:
        for update in updates:
            figures = {"epoch": 1, "loss": "5", "ups": "2.5", "num_updates": str(update)}
            figures["ppl"] = str(1000 / update)
            figures |= {f"moe_{layer}_{name}": str(update) for name in shown}
            file.write(f"2026-01-01 | INFO | train_inner | {json.dumps(figures)}\n")
        figures = {"epoch": 1, "valid_loss": "5", "valid_ppl": "7.25", "valid_num_updates": "200"}
        figures |= {f"valid_moe_{layer}_{name}": str(value) for name, value in shown.items()}
        file.write(f"2026-01-01 | INFO | valid | {json.dumps(figures)}\n")
        file.write('{"epoch": 1, "train_loss": "5", "train_num_updates": "200"}\n')


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_markdown_is_aligned() -> None:
    assert list(markdown(["", "a figure"], [["name", "1"], ["b", "22"]])) == [
        "|      | a figure |",
        "| ---- | -------: |",
        "| name |        1 |",
        "| b    |       22 |",
    ]


def test_gatings_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = {"importance_cv": 0.5, "load_cv": 0.25, "load_max": 1.5, "unused": 3}
    # Interrupted after 150: the second 125 counts.
    log(tmp_path / "a", "encoder_2", [25, 100, 125, 150, 125, 150, 200], **shown)
    log(tmp_path / "b", "encoder_2", [25, 100], **shown)
    assert series.main(["gatings", str(tmp_path), "a", "b"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [cells(line) for line in lines[:1] + lines[2:14]] == [
        ["", "a", "b"],
        ["training perplexity, update 25", "40.00", "40.00"],
        ["training perplexity, update 100", "10.00", "10.00"],
        ["training perplexity, update 125", "8.00", "-"],
        ["training perplexity, update 150", "6.67", "-"],
        ["training perplexity, update 200", "5.00", "-"],
        ["validation perplexity", "7.25", "7.25"],
        ["encoder 2, training: CV(load)", "158.33", "62.50"],
        ["encoder 2, training: max/mean load", "158.33", "62.50"],
        ["encoder 2, training: unused experts", "200", "100"],
        ["encoder 2, validation: CV(load)", "0.25", "0.25"],
        ["encoder 2, validation: max/mean load", "1.50", "1.50"],
        ["encoder 2, validation: unused experts", "3", "3"],
    ]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A run with two language models; 100 lines of four words, cut into 1,200 pieces."""
    for folder, text in (("binary/dict.txt", "a 1\n"), ("corpus/test.txt", "a b c d\n" * 100)):
        (tmp_path / folder).parent.mkdir()
        (tmp_path / folder).write_text(text)
    small = {"_name": "lstm_moe_lm_tiny", "dim": 8, "lstm_cells": 8, "moe_hidden_dim": 16}
    for name, size in (("dense", {"feed_forward": "dense"}), ("4", {"moe_experts": 4})):
        shown = {} if name == "dense" else {"importance_cv": 0, "unused": 2}
        log(tmp_path / name, "decoder_1", [100, 200], **shown)
        (tmp_path / name / "test.log").write_text(EVALUATED)
        (tmp_path / name / ".seconds").write_text("1234\n")
        checkpoint = {"cfg": {"model": small | size | {"moe_k": 2}}, "model": {}}
        torch.save(checkpoint, tmp_path / name / "checkpoint_best.pt")
    return tmp_path


def test_language_models(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert series.main(["language-models", str(models), "dense", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    lstms, expert, gate = 2 * 8 * 8 * 8, 2 * 8 * 16, 2 * 8 * 4
    biases = 2 * 2 * 4 * 8
    per_word = f"{2 ** (3 * 1200 / 500):.2f}"
    assert [cells(line) for line in lines[2:4]] == [
        ["dense", f"{lstms + 2 * expert:,}", f"{lstms + 2 * expert + biases:,}", "8.00", per_word]
        + ["-", "200", "2.5", "1,234"],
        ["MoE-4", f"{lstms + 2 * expert + gate:,}", f"{lstms + 4 * expert + gate + biases:,}"]
        + ["8.00", per_word, "2", "200", "2.5", "1,234"],
    ]
    assert "1,200 wordpieces or 500 words" in lines[-1]


def test_errors_are_one_line(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "4/test.log").write_text("Killed\n")
    (models / "dense/checkpoint_best.pt").unlink()
    assert series.main(["language-models", str(models), "4"]) == 1
    assert series.main(["language-models", str(models), "dense"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and "not what fairseq-eval-lm prints" in errors[0]
    assert "checkpoint_best.pt" in errors[1]
