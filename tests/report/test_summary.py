"""The closing summary, from the folder of a run."""

import json
from pathlib import Path

import pytest

from nmt_moe.report import summary
from nmt_moe.runs.claims.machine import machine


def make_run(folder: Path) -> Path:
    for name, seconds in (("corpus", 3), ("training", 1200), ("translation", 20), ("examples", 5)):
        (folder / name).mkdir(parents=True)
        (folder / name / ".seconds").write_text(f"{seconds}\n")
        (folder / name / ".done").touch()
    (folder / "settings").write_text("target=de\n")
    score = {"name": "BLEU", "score": 71.234, "signature": "nrefs:1|case:mixed|tok:13a"}
    (folder / "translation/detokenised.json").write_text(json.dumps(score))
    layer = {"importance_cv": "0.125", "load_cv": "0.25", "load_max": "1.5", "unused": "0"}
    figures = {f"valid_moe_encoder_2_{name}": value for name, value in layer.items()}
    lines = [
        json.dumps({"epoch": epoch, "valid_loss": "2.0", "valid_ppl": "3.1", **figures})
        for epoch in (1, 2)
    ]
    log = "".join(f"2026-01-01 | INFO | valid | {line}\n" for line in lines)
    (folder / "training/train.log").write_text(log + '{"epoch": 2, "train_loss": "1.0"}\n')
    (folder / "examples/source.txt").write_text("One dog.\nTwo dogs.\n")
    (folder / "report").mkdir()
    (folder / "report/report.html").touch()
    translated = "S-0\tx\nD-0\t-0.1\tEin Hund.\nH-0\t-0.1\tx\nD-1\t-0.2\t" + "Hund " * 100 + "\n"
    (folder / "examples/translated.txt").write_text(translated)
    return folder


def test_says_score_time_balance_and_examples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert summary.main([str(make_run(tmp_path))]) == 0
    text = capsys.readouterr().out
    assert "BLEU, detokenised: 71.23   nrefs:1|case:mixed|tok:13a\n" in text
    assert [line.split() for line in text.splitlines() if line.endswith(" s")] == [
        ["corpus", "3", "s"],
        ["training", "1,200", "s"],
        ["translation", "20", "s"],
        ["examples", "5", "s"],
        ["all", "1,228", "s"],
    ]
    assert "validation after epoch 2" in text
    assert next(line for line in text.splitlines() if line.startswith("encoder")).split() == [
        *("encoder", "2", "0.12", "0.25", "1.50", "0")
    ]
    assert "  One dog.\n  -> Ein Hund.\n" in text
    assert f"{'report':14} {tmp_path / 'report' / 'report.html'}\n" in text
    assert max(map(len, text.splitlines())) <= 210


def test_a_record_has_what_a_published_line_says_of_itself(tmp_path: Path) -> None:
    run, path = make_run(tmp_path / "run"), tmp_path / "de-1.json"
    assert summary.main([str(run), "--record", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["settings"] == {"target": "de"}
    score = {"name": "BLEU", "score": 71.234, "signature": "nrefs:1|case:mixed|tok:13a"}
    assert found["scores"] == {"detokenised": score}
    assert found["seconds"] == {"corpus": 3, "training": 1200, "translation": 20, "examples": 5}
    assert (found["validation"]["epoch"], found["validation"]["valid_ppl"]) == (2, "3.1")
    assert found["machine"] == machine()
    assert summary.main([str(run), "--record", str(tmp_path / "none" / "x.json")]) == 1


def test_a_run_without_a_training_has_a_record(tmp_path: Path) -> None:
    (tmp_path / "settings").write_text("target=de\n")
    assert summary.main([str(tmp_path), "--record", str(tmp_path / "record.json")]) == 0
    found = json.loads((tmp_path / "record.json").read_text())
    assert (found["seconds"], found["validation"], found["scores"]) == ({}, None, {})


def test_an_unfinished_run_gives_a_shorter_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "settings").write_text("target=de\n")
    assert summary.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"== summary of {tmp_path}\n"


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert summary.main([str(tmp_path / "none")]) == 1
    run = make_run(tmp_path)
    (run / "translation/detokenised.json").write_text("[]")
    assert summary.main([str(run)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and "not the folder of a run" in errors[0]
    assert "not what sacrebleu writes" in errors[1]
