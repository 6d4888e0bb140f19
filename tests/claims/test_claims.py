"""Results of claims: those of tests/claims/capacity, which a tiny run has made, and our own."""

import csv
import json
import math
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.runs.claims import pictures, tables, translations
from nmt_moe.runs.claims.__main__ import main
from nmt_moe.runs.claims.grid import Grid
from nmt_moe.runs.claims.logs import harvest, milliseconds_of_weights, parse, read
from nmt_moe.runs.claims.machine import bandwidth
from nmt_moe.runs.claims.results import load
from tests import commands

ROOT = Path(__file__).resolve().parents[2]
TINY = Path(__file__).parent / "capacity"
RESULTS = [TINY, *sorted(path.parent for path in (ROOT / "results").glob("*/run.json"))]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tiny results without what is made of their logs."""
    out = tmp_path / "results"
    (out / "logs").mkdir(parents=True)
    shutil.copy(TINY / "run.json", out)
    for log in (TINY / "logs").iterdir():
        shutil.copy(log, out / "logs")
    return out


@pytest.mark.parametrize("folder", RESULTS, ids=lambda path: path.name)
def test_every_number_of_a_table_is_in_a_committed_log(folder: Path) -> None:
    with (folder / "table.csv").open() as file:
        found = list(csv.DictReader(file))
    assert found
    for row in found:
        line = (folder / row["log"]).read_text().splitlines()[int(row["line"]) - 1]
        assert row["log"] == f"logs/{row['cell']}-{row['seed']}.log"
        figures = json.loads(line[line.index("{") :])
        assert str(figures[row["key"]]) == row["value"]

    run, logs = load(folder)
    assert (folder / "table.csv").read_text() == tables.rows(run["claim"], logs, run)
    table = "\n".join(tables.table(run["claim"], logs, run))
    assert (folder / "table.md").read_text().startswith(f"{table}\n\n")


@pytest.mark.parametrize("folder", RESULTS, ids=lambda path: path.name)
def test_results_name_no_folder_of_the_machine(folder: Path) -> None:
    for path in [*folder.glob("*.*"), *folder.glob("logs/*")]:
        if path.suffix != ".svg":
            assert not re.search(r"(?<![\w.:/])/\w[\w.-]*/", path.read_text())


def test_means_and_deviations_are_those_of_the_logs(copy: Path) -> None:
    assert main(["show", str(copy)]) == 0
    lines = (copy / "table.md").read_text().splitlines()
    heads, _, dense, experts = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines[:4]
    )
    means = {}
    for name, row in (("dense", dense), ("4", experts)):
        texts = [(TINY / f"logs/{name}-{seed}.log").read_text() for seed in (1, 2)]
        numbers = [float(re.findall(r'"test_ppl": "([\d.]+)"', text)[-1]) for text in texts]
        means[name] = statistics.fmean(numbers)
        shown = f"{means[name]:.2f} ± {statistics.stdev(numbers):.2f}"
        assert row[0] == name and row[heads.index("test ppl/piece")] == shown
        assert row[heads.index("seeds")] == "1 2"
    assert dense[-1] == "+0.0%"
    assert experts[-1] == f"{100 * (means['4'] / means['dense'] - 1):+.1f}%"


def test_words_are_counted_without_ends_of_lines(copy: Path) -> None:
    main(["show", str(copy)])
    text = json.loads((copy / "run.json").read_text())["text"]["train"]
    words, pieces = (text[name] - text["lines"] for name in ("words", "pieces"))
    counts = f"{text['lines']:,} lines, {words:,} words, {pieces:,} wordpieces"
    assert f"Training text: {counts};" in (copy / "table.md").read_text()


def test_trainings_of_changed_files_are_marked(copy: Path) -> None:
    log = copy / "logs/4-2.log"
    log.write_text(re.sub(r'"commit": "(\w+)"', r'"commit": "\1+"', log.read_text(), count=1))
    main(["show", str(copy)])
    table = (copy / "table.md").read_text()
    assert table.endswith(" With files that differ from the commit's (+): 4-2.\n")
    assert (TINY / "table.md").read_text().endswith(" files other than its commit's.\n")


def test_comparisons_of_translations_have_checksums(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are made after the logs are collected."""
    settings = {"CELLS": "dense 4", "SEEDS": "1 2", "RESULTS": str(copy), "RUN_DIR": str(copy)}
    grid = Grid.read(ROOT / "recipes/claims/translation.toml", settings, [])
    main(["show", str(copy)])
    before = (copy / "checksums.txt").read_text()
    monkeypatch.setattr(translations.commands, "written", lambda path, *_, **__: path.touch())
    translations.compare(grid, ["test"])
    lines = (copy / "checksums.txt").read_text().splitlines()
    assert set(before.splitlines()) < set(lines)
    names = [line.partition("  ")[2] for line in lines if "paired" in line]
    assert names == [
        f"paired-{search}-{seed}.txt" for search in ("fairseq", "gnmt") for seed in "12"
    ]


def test_perplexity_of_a_word() -> None:
    run, logs = load(TINY)
    test = run["text"]["test"]
    assert test["pieces"] > test["words"] > test["lines"]
    bits = float(logs[0].last("test", "test_nll_loss").figures["test_nll_loss"])
    figure = next(f for f in tables.FIGURES["capacity"] if f.head == "per word")
    [shown] = tables.values(figure, [logs[0]], run)
    # The text has one probability, whatever it is divided into.
    assert math.log2(shown) * test["words"] == pytest.approx(bits * test["pieces"])


def test_table_and_picture_are_the_same_each_time(copy: Path) -> None:
    main(["show", str(copy)])
    names = ("table.md", "table.csv", "picture.svg", "checksums.txt")
    before = [(copy / name).read_bytes() for name in names]
    main(["show", str(copy)])
    assert [(copy / name).read_bytes() for name in names] == before
    assert b"test ppl/piece" in before[2] and b"hierarchical" not in before[2]


def test_of_an_update_made_twice_the_second_counts(copy: Path) -> None:
    path = copy / "logs/4-1.log"
    lines = path.read_text().splitlines()
    again = next(line for line in lines if '"valid_num_updates": "2"' in line)
    changed = re.sub(r'"valid_ppl": "[\d.]+"', '"valid_ppl": "1.25"', again)
    assert read(path).curve("valid_ppl")[2] != 1.25
    assert parse(path, [*lines, changed]).curve("valid_ppl")[2] == 1.25


def finished(folder: Path, trained: str) -> Path:
    """What the recipe leaves of a training, as far as it is read."""
    folder.mkdir()
    (folder / "options").write_text("--moe-experts 4\n")
    (folder / ".seconds").write_text("12\n")
    (folder / "machine.json").write_text('{"device": "a CPU"}\n')
    (folder / "train.log").write_text(trained)
    return folder


def test_a_kept_log_has_the_figures_as_printed_and_nothing_else(tmp_path: Path) -> None:
    figures = (
        '2026-01-01 | INFO | valid | {"epoch": 1, "valid_ppl": "7.5", "valid_num_updates": "9"}'
    )
    config = "2026-01-01 | INFO | fairseq_cli.train | {'data': '/home/someone/data'}"
    size = "2026-01-01 | INFO | fairseq_cli.train | num. shared model params: 1,234 (num. ...)"
    folder = finished(tmp_path / "256-h-3", f"{config}\n{size}\n{figures}\n")
    for search, score in (("fairseq", 12.5), ("gnmt", 13.5), ("gnmt1", 9)):
        (folder / search).mkdir()
        text = f'{{\n "name": "BLEU",\n "score": {score}\n}}\n'
        (folder / search / "bleu.json").write_text(text)
    lines = list(harvest(folder, {"operations": 5}))
    about = parse(folder, lines).about
    assert (about["cell"], about["seed"], about["seconds"]) == ("256-h", 3, 12)
    assert about["options"] == ["--moe-experts", "4"] and about["device"] == "a CPU"
    assert (about["all_parameters"], about["operations"]) == (1234, 5)
    assert lines[1:] == [
        figures,
        'fairseq | {"name": "BLEU", "score": 12.5}',
        'gnmt | {"name": "BLEU", "score": 13.5}',
        'gnmt1 | {"name": "BLEU", "score": 9}',
    ]


def test_what_is_no_result_is_refused(
    tmp_path: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path} holds no finished training yet\n"
    folder = finished(tmp_path / "4-1", "")
    (folder / "options").unlink()
    with pytest.raises(UserError, match="4-1 is not complete .*options"):
        list(harvest(folder, {}))
    for text, message in (
        ("", "does not begin with what it is about"),
        ("Traceback\n", "line 1, holds no figures"),
        ('valid | {"valid_ppl": "1"}\n', "does not begin"),
    ):
        (copy / "logs/4-1.log").write_text(text)
        assert main(["show", str(copy)]) == 1
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1
    (copy / "run.json").write_text("{")
    assert main(["show", str(copy)]) == 1
    assert "run.json is no JSON" in capsys.readouterr().err


def test_a_picture_without_numbers_of_experts(tmp_path: Path) -> None:
    run, logs = load(TINY)
    for cells, shown in (({"dense", "4"}, True), ({"dense"}, False)):
        pictures.draw(run, [log for log in logs if log.cell in cells], tmp_path / "picture.svg")
        text = (tmp_path / "picture.svg").read_text()
        assert (">experts<" in text) == shown and ">dense<" in text


def test_curves_have_bands_where_there_are_seeds(tmp_path: Path) -> None:
    run, logs = load(TINY)
    bands = {}
    for name, shown in (("all", logs), ("one", [log for log in logs if log.seed == logs[0].seed])):
        pictures.draw(run, shown, tmp_path / name)
        bands[name] = (tmp_path / name).read_text().count('id="FillBetween')
    assert bands == {"all": len({log.cell for log in logs}), "one": 0}


def test_the_command_starts_without_torch() -> None:
    program = "import sys, nmt_moe.cli.claims; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_what_weights_cost_at_least() -> None:
    """A billion weights, 24 bytes of each, at 24 GB/s; no machine is outside of these bounds."""
    assert milliseconds_of_weights(10**9, 24) == pytest.approx(1000)
    assert 0.2 < bandwidth() < 5000


def test_peak_memory_of_a_command(tmp_path: Path) -> None:
    found = {}
    for size in (60, 360):  # this package takes more than the first one itself
        program = f"a = b'1' * ({size} << 20); raise SystemExit(3)"
        command = ["python", "-m", "nmt_moe.runs.claims", "peak", tmp_path / f"{size}"]
        ended = commands.run(*command, sys.executable, "-c", program, fails=True)
        assert ended.code == 3
        found[size] = int((tmp_path / f"{size}").read_text())
    assert 290 < found[360] - found[60] < 310
