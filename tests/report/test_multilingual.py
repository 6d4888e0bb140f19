"""The table of a multilingual run: each pair's BLEU is sacrebleu's on that pair's lines."""

import json
from pathlib import Path

import pytest
import torch

from nmt_moe.models.architectures import build, config
from nmt_moe.report import multilingual
from tests.commands import run

REFERENCES = {
    "en-de": [
        "Der Zug nach Wien geht um 15:05 Uhr.",
        "Ich suche einen weißen Rock.",
        "Zwei Hunde.",
    ],
    "de-fr": ["Le train pour Vienne part à 15:05.", "Je cherche une jupe blanche en taille 38."],
    "en-zh": ["德国、法国和日本", "2026年3月4日星期三, 15:05"],
}
HYPOTHESES = {
    "dense": [
        *("Der Zug nach Rom geht um 15:05 Uhr.", "Ich suche einen weißen Rock.", ""),
        *("Le train pour Vienne part.", "Je cherche une jupe blanche en taille 39."),
        *("德国、法国", "2026年3月4日星期三, 15:05"),
    ],
    "moe": [
        *("Der Zug nach Wien geht um 15:05 Uhr.", "Ich suche einen weißen Rock.", "Zwei Hunde."),
        *("Le train pour Rome part à 15:05.", "Je cherche une jupe en taille 38."),
        *("德国、法国和日本", "2026年3月4日星期二, 15:05"),
    ],
}
SMALL = {"dim": 8, "lstm_cells": 8, "moe_experts": 4, "moe_k": 2, "moe_hidden_dim": 16}


@pytest.fixture
def finished(tmp_path: Path) -> list[str]:
    """The arguments of the command, for a run that has ended."""
    folder = tmp_path / "run"
    (folder / "binary").mkdir(parents=True)
    (folder / "binary/dict.src.txt").write_text("a 1\nb 1\n")
    for name, lines in HYPOTHESES.items():
        out = folder / name
        out.mkdir()
        (out / "hypotheses.txt").write_text("".join(f"{line}\n" for line in lines))
        (out / ".seconds").write_text("1234\n")
        valid = {"epoch": 2, "valid_loss": "3", "valid_ppl": "7.25", "valid_num_updates": "600"}
        (out / "train.log").write_text(json.dumps(valid) + "\n")
        kind = {} if name == "moe" else {"feed_forward": "dense"}
        options = {"_name": "lstm_moe_multilingual"} | SMALL | kind
        checkpoint = {"cfg": {"model": options, "common": {"seed": 5}}, "model": {}}
        torch.save(checkpoint, out / "checkpoint_best.pt")
    pairs = []
    for pair, lines in REFERENCES.items():
        text = tmp_path / pair
        text.mkdir()
        for language in pair.split("-"):
            (text / f"test.{language}").write_text("".join(f"{line}\n" for line in lines))
        pairs.append(f"{pair}={text}")
    return [str(folder), *pairs]


def tables(printed: str) -> list[list[str]]:
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_bleu_is_that_of_sacrebleu_on_the_lines_of_the_pair(finished, capsys) -> None:
    assert multilingual.main(finished) == 0
    printed = capsys.readouterr().out
    heads, _, *rows = tables(printed)[:6]
    assert heads == ["pair", "test lines", "dense BLEU", "MoE BLEU", "difference"]
    assert [row[:2] for row in rows] == [
        ["en-de", "3"],
        ["de-fr", "2"],
        ["en-zh", "2"],
        ["mean", ""],
    ]
    sums = [0.0, 0.0]
    for row, argument in zip(rows, finished[1:], strict=False):
        pair, _, text = argument.partition("=")
        target = pair[3:]
        for column, name in enumerate(("dense", "moe")):
            one = Path(finished[0]) / name / f"{pair}.txt"
            assert len(one.read_text().splitlines()) == len(REFERENCES[pair])
            tokenizer = "zh" if target == "zh" else "13a"
            options = ("-i", one, "-m", "bleu", "-w", "2", "--tokenize", tokenizer)
            told = json.loads(run("sacrebleu", f"{text}/test.{target}", *options).stdout)
            assert row[2 + column] == f"{told['score']:.2f}" != "0.00"
            assert told["signature"] in printed
            sums[column] += told["score"]
        assert float(row[4]) == pytest.approx(float(row[3]) - float(row[2]), abs=0.011)
    assert [float(cell) for cell in rows[3][2:4]] == pytest.approx([s / 3 for s in sums], abs=0.006)
    assert "BLEU into de, fr, detokenised" in printed and "BLEU into zh, detokenised" in printed


def test_what_the_models_are(finished, capsys) -> None:
    assert multilingual.main(finished) == 0
    rows = {row[0]: row[1:] for row in tables(capsys.readouterr().out)[6:]}
    assert rows["experts"] == ["none, width 32", "4 of width 16, k = 2"]
    assert rows["updates"] == ["600", "600"] and rows["seed"] == ["5", "5"]
    assert rows["validation perplexity"] == ["7.25", "7.25"]
    assert rows["seconds"] == ["1,234", "1,234"]
    dense, moe = (int(cell.replace(",", "")) for cell in rows["ops per timestep"])
    assert moe - dense == 2 * (2 * 8 * 4)  # two gates, each with its noise
    # Two symbols and the four of fairseq.
    model = build(config("lstm_moe_multilingual", SMALL), 6)
    assert rows["parameters"][1] == f"{sum(p.numel() for p in model.parameters()):,}"


def test_lines_that_do_not_fit_are_an_error(finished, capsys) -> None:
    with (Path(finished[0]) / "moe/hypotheses.txt").open("a") as file:
        file.write("one more\n")
    assert multilingual.main(finished) == 1
    error = capsys.readouterr().err
    assert "moe/hypotheses.txt has 8 lines, the test texts 7: remove the folder" in error
    assert error.count("\n") == 1
