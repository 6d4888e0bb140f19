"""``python -m nmt_moe.report`` from a shell, on a trained model."""

import json
import shutil

import pytest

from tests.commands import Finished, run


def report(*arguments: object, **options: object) -> Finished:
    return run("python", "-m", "nmt_moe.report", *arguments, **options)


def test_a_report_of_a_trained_model(trained, data, tmp_path) -> None:
    out = tmp_path / "report.html"
    finished = report(trained, data, "--out", out)
    line = finished.stdout.splitlines()[-1]
    assert line.startswith(f"wrote {out}: attention alive (")
    assert ", 2 layers, 8 experts, " in line and " 20 sentences, perplexity " in line
    page = out.read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>") and "encoder.2" in page
    assert list(tmp_path.iterdir()) == [out]

    finished = report(trained, data, "--json", cwd=tmp_path)
    [content] = [json.loads(line) for line in finished.stdout.splitlines() if line[:1] == "{"]
    assert content["checkpoint"] == str(trained) and content["updates"] == 150
    assert content["data"]["name"] == f"{data}/test" and content["data"]["sentences"] == 20
    assert [layer["name"] for layer in content["layers"]] == ["encoder.2", "decoder.1"]
    assert list(tmp_path.iterdir()) == [out]  # --json alone writes no page


@pytest.mark.slow
def test_two_models_and_curves(trained, tmp_path) -> None:
    other = tmp_path / "other.pt"
    shutil.copy(trained, other)
    finished = report("--compare", trained, other, cwd=tmp_path)  # on the data of the training
    line = finished.stdout.splitlines()[-1]
    assert line.startswith("wrote report.html: attention alive (")
    assert [part.count(", 2 layers, 8 experts, ") for part in line.split("; ")] == [1, 1]
    assert "other.pt" in (tmp_path / "report.html").read_text(encoding="utf-8")

    log = tmp_path / "train.log"
    figures = {"epoch": 1, "loss": "5", "ppl": "32", "num_updates": "10"}
    log.write_text(f"2026-01-01 00:00:00 | INFO | train_inner | {json.dumps(figures)}\n")
    finished = report("--curves", tmp_path, "--out", tmp_path / "some.html")
    assert finished.stdout.splitlines()[-1].startswith(f"wrote {tmp_path}/some.html: ")
    assert (tmp_path / "some.html").stat().st_size > 1000


def test_errors_are_one_line(trained, data, tmp_path) -> None:
    folder = tmp_path / "gone"
    message = report(trained, data, "--out", folder / "report.html", fails=True).error()
    assert message.startswith(f"there is no folder {folder} for report.html")
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    index = broken / "test.a-b.a.idx"
    index.write_bytes(index.read_bytes()[:30])
    finished = report(trained, broken, "--json", fails=True)
    assert finished.error().endswith(".* are damaged or incomplete: run fairseq-preprocess again")
    assert "Exception ignored" not in finished.stderr


def test_help_names_all_that_there_is() -> None:
    shown = report("--help").stdout
    for wanted in ("CHECKPOINT DATA", "--compare", "--curves", "--sentence", "--labels", "--json"):
        assert wanted in shown
