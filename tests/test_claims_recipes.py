"""The recipes of the paper's claims, on tiny settings and from another working directory."""

import csv
import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from nmt_moe.runs.claims.grid import Grid
from nmt_moe.runs.claims.logs import read
from nmt_moe.runs.claims.translations import SEARCHES
from nmt_moe.runs.steps import Stage
from tests.recipes import ROOT, error, headings, killed, run

CLAIMS = [
    "capacity",
    "balance",
    "gating",
    "cost",
    "translation",
    "tying",
    "precision",
    "multilingual",
]
TEXT = ["capacity", "balance", "gating", "cost"]
# An option given again later wins.
TINY = ["--", "--dim", "16", "--lstm-cells", "16", "--moe-hidden-dim", "16", "--log-interval", "2"]
SIZES = {"PHRASES": 300, "VALID_LINES": 20, "TEST_LINES": 30, "VOCABULARY": 300, "UPDATES": 8}
BEFORE = ["text", "corpus", "wordpieces", "binary"]


def test_there_is_a_test_for_each_claim() -> None:
    scripts = {path.stem for path in (ROOT / "recipes/claims").glob("*.sh")}
    assert scripts == {*CLAIMS, "claims"}


@pytest.mark.parametrize(
    ("results", "settings"),
    [
        *((claim, {}) for claim in TEXT),
        ("translation-multi30k", {}),
        ("tying", {}),
        ("precision", {}),
    ]
    + [("translation-mixed", {"UPDATES": "8000", "LR": "3e-3"}), ("balance-noise", {})]
    + [("balance-long", {"UPDATES": "6000"})]
    + [("capacity-en-de", {"UPDATES": "3600"}), ("translation-twins", {"LR": "8e-3"})]
    + [("translation-equal-time", {})]
    + [("multilingual", {})],
)
def test_the_grid_is_that_of_the_results(results: str, settings: dict[str, str]) -> None:
    """So that they can be repeated, and added to."""
    folder = ROOT / "results" / results
    run = json.loads((folder / "run.json").read_text())
    grid = Grid.read(ROOT / f"recipes/claims/{run['claim']}.toml", settings, [])
    assert [cell for cell in grid.all_cells if cell in run["cells"]] == run["cells"]
    assert " ".join(grid.common) == run["settings"]["common"]
    logs = [read(path) for path in (folder / "logs").glob("*.log")]
    assert logs and all(log.about["options"] == grid.cells[log.cell] for log in logs)


def test_the_command_names_cells_seeds_and_jobs() -> None:
    """Also where they are the default, and no folder of the machine."""
    table = ROOT / "recipes/claims/balance.toml"
    chosen = {"CELLS": "0_0 1_1", "SEEDS": "4", "JOBS": "2", "UPDATES": "9", "HOME": "/root"}
    typed = Grid.read(table, chosen, []).typed("/some/where/a.txt")
    assert typed == 'CELLS="0_0 1_1" SEEDS=4 JOBS=2 UPDATES=9 recipes/claims/balance.sh a.txt'
    cells = "0_0 0.2_0 0_0.2 0.1_0.1 0.01_0.01 1_1 0.1_0.1-annealed"
    typed = Grid.read(table, {}, []).typed()
    assert typed == f'CELLS="{cells}" SEEDS="1 2 3" JOBS=1 recipes/claims/balance.sh'


@pytest.mark.slow
def test_no_job_waits_for_the_end_of_a_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first training lasts until one of the second seed has begun."""
    begun: list[str] = []
    collected: list[int] = []
    there = threading.Event()

    def training(stage: Stage, options: list[str]) -> None:
        name = stage.folder.name
        begun.append(name)
        if name.endswith("-2"):
            there.set()
        assert name != "0_0-1" or there.wait(60)

    monkeypatch.setattr(Grid, "_collect", lambda grid, command: collected.append(len(begun)))
    chosen = {"CELLS": "0_0 1_1", "SEEDS": "1 2", "JOBS": "2", "RUN_DIR": str(tmp_path / "run")}
    grid = Grid.read(ROOT / "recipes/claims/balance.toml", chosen, [])
    grid.open(False)
    grid.train(training, "balance.sh")
    assert len(begun) == 4 and begun[2].endswith("-2") and len(collected) == 2


@pytest.mark.parametrize("claim", CLAIMS)
def test_help_and_mistyped_arguments(claim: str, tmp_path: Path) -> None:
    script = f"claims/{claim}.sh"
    help_text = run(script, "--help").stdout
    assert help_text.startswith(f"usage: recipes/{script}") and "SEEDS" in help_text
    for arguments, settings, message in (
        (["--cleen"], {}, "unknown option '--cleen'"),
        (["--", "--lr", "1"], {"CELLS": "wide"}, "unknown cell 'wide': choose from "),
        ([], {"JOBS": "two"}, "JOBS=two is no number of trainings"),
        ([], {"SEEDS": "1 b"}, "'b' is no seed"),
        (["no.txt"], {}, "no.txt"),
    ):
        wrong = run(script, *arguments, cwd=tmp_path, RUN_DIR=tmp_path / "run", **settings)
        assert message in error(wrong)
    assert not (tmp_path / "run").exists()


def test_a_folder_beside_files() -> None:
    message = error(run("claims/capacity.sh", "/", str(ROOT / "README.md")))
    assert message == "capacity: one folder, or files: / is a folder\n"


def test_pairs_that_are_missing(tmp_path: Path) -> None:
    (tmp_path / "a.en").touch()
    (tmp_path / "a.de").touch()
    script = "claims/translation.sh"
    assert "there is no valid text" in error(run(script, TRAIN="a", TEST="a", cwd=tmp_path))
    missing = run(script, TRAIN="a", VALID="b", TEST="a", cwd=tmp_path)
    assert error(missing) == "translation: no file b.en, with or without .gz\n"
    assert "MINUTES=some is no number" in error(run(script, MINUTES="some"))


def test_languages_that_multi30k_has_not(tmp_path: Path) -> None:
    script = "claims/multilingual.sh"
    assert error(run(script, PAIRS="en-de en-es", cwd=tmp_path)) == (
        "multilingual: PAIRS names 'es', which Multi30k has not: en, de, fr, cs\n"
    )
    assert "'en' is not a pair of languages" in error(run(script, PAIRS="en", cwd=tmp_path))
    missing = error(run(script, MULTI30K="captions", cwd=tmp_path))
    assert missing.startswith("multilingual: no folder ") and "captions: MULTI30K" in missing


def figures(results: Path) -> dict[tuple[str, str, str], str]:
    """By cell, seed and figure, as in the log."""
    with (results / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(row["cell"], row["seed"], row["figure"]): row["value"] for row in rows}


@pytest.mark.slow
def test_a_claim_is_killed_continued_and_repeated(tmp_path: Path) -> None:
    folder, script = tmp_path / "a run", "claims/capacity.sh"  # with a space
    grid: dict[str, Any] = {"CELLS": "dense 4", "SEEDS": "1", **SIZES}
    saved = folder / "4-1/checkpoint_last.pt"
    killed(script, *TINY, after=saved.exists, RUN_DIR=folder, **grid)
    assert saved.exists() and not (folder / "4-1/.done").exists()

    again = run(script, *TINY, RUN_DIR=folder, **grid)
    assert again.returncode == 0, again.stdout + again.stderr
    done = [f"{name}: done" for name in (*BEFORE, "dense-1")]
    assert headings(again.stdout) == [*done, "4-1"]
    assert (folder / "results/table.md").read_text() in again.stdout
    assert (folder / "results/picture.svg").stat().st_size > 1000

    # Not interrupted, beside another one: the same figures.
    other = run(script, *TINY, RUN_DIR=tmp_path / "2", JOBS=2, **grid)
    assert other.returncode == 0, other.stdout + other.stderr
    one, two = figures(folder / "results"), figures(tmp_path / "2/results")
    assert one.keys() == two.keys() and ("4", "1", "test ppl/piece") in one
    assert one == two

    known = folder / "results/run.json"
    known.write_text(known.read_text().replace('"vocabulary": "300"', '"vocabulary": "400"'))
    mixed = run(script, *TINY, RUN_DIR=folder, **grid)
    assert mixed.returncode == 1 and "holds results of other settings" in mixed.stderr

    changed = run(script, *TINY, RUN_DIR=folder, **grid | {"UPDATES": 9})
    assert "was made with common=" in error(changed)
    (folder / "4-1/options").write_text("--moe-experts 5\n")
    changed = run(script, *TINY, RUN_DIR=folder, **grid)
    assert "was made with --moe-experts 5, now it is --moe-experts 4" in error(changed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("claim", "cell"),
    [("balance", "1_1"), ("cost", "256-h")],
)
def test_the_other_claims_of_a_given_text(claim: str, cell: str, tmp_path: Path) -> None:
    for name in ("one", "two"):  # together 80 different lines
        lines = [f"the {word} number {n} runs" for word in (name, "dog") for n in range(30)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    sizes = SIZES | {"VALID_LINES": 10, "TEST_LINES": 9, "VOCABULARY": 60}
    settings: dict[str, Any] = {"CELLS": cell, "SEEDS": "1", "RUN_DIR": "run", **sizes}
    texts = ["one.txt", str(tmp_path / "two.txt")]
    ended = run(f"claims/{claim}.sh", *texts, *TINY, cwd=tmp_path, **settings)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "train: 71 lines, valid: 10 lines, test: 9 lines" in ended.stdout
    typed = f"CELLS={cell} SEEDS=1 JOBS=1"
    typed += " UPDATES=8 VALID_LINES=10 TEST_LINES=9 PHRASES=300 VOCABULARY=60"
    assert f"Commands: `{typed} recipes/claims/{claim}.sh one.txt two.txt`" in ended.stdout
    found = figures(tmp_path / "run/results")
    last = {"cost": "peak memory, MiB"}.get(claim, "max/mean load, training")
    assert float(found[cell, "1", last]) >= 1
    if claim == "cost":
        about = read(tmp_path / "run/results/logs/256-h-1.log").about
        least = 24 * about["parameters"] / (about["bandwidth_gb"] * 1e9) * 1000
        assert float(found[cell, "1", "ms/update, weights at least"]) == pytest.approx(least, abs=1)
    kept = [path for path in (tmp_path / "run/results").rglob("*.*") if path.suffix != ".svg"]
    assert len(kept) == 5 and not any(str(tmp_path) in path.read_text() for path in kept)


def pairs_of_phrases(folder: Path) -> dict[str, Any]:
    """The settings that name small texts, which are written."""
    command = [str(ROOT / ".venv/bin/python"), "-m", "nmt_moe.corpus.phrasebook", "--target", "de"]
    sizes = ["--train", "300", "--valid", "20", "--test", "15", "--out", str(folder)]
    subprocess.run([*command, *sizes], cwd=ROOT, check=True)
    return {name.upper(): f"en-de/{name}" for name in ("train", "valid", "test")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "second"),
    [(["dense", "32"], True), (["32-timed", "dense-timed", "lstm", "transformer"], False)],
)
def test_translations(names: list[str], second: bool, tmp_path: Path) -> None:
    texts = pairs_of_phrases(tmp_path)
    texts["TEST1"] = "en-de/valid en-de/test" if second else ""
    settings: dict[str, Any] = {"CELLS": " ".join(names), "SEEDS": 1, "UPDATES": 6, "MINUTES": 0.02}
    settings |= {"VOCABULARY": 300, "RUN_DIR": "run", **texts}
    small = ["--", "--log-interval", "2"]
    ended = run("claims/translation.sh", *small, cwd=tmp_path, **settings)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert headings(ended.stdout)[-len(names) :] == [f"{name}-1" for name in names]
    found = figures(tmp_path / "run/results")
    for text in ("", "2nd text: ") if second else ("",):
        for search in ("fairseq", "GNMT"):
            head = f"{text}BLEU, {search}'s search"
            assert all(float(found[name, "1", head]) >= 0 for name in names)
        head = f"{text or 'test '}ppl/piece"
        assert all(float(found[name, "1", head]) > 1 for name in names)
    assert ("2nd text" in (tmp_path / "run/results/picture.svg").read_text()) == second
    assert ("second test text: 35 lines" in ended.stdout) == second
    assert ('TEST=test TEST1="valid test" UPDATES=6 MINUTES=0.02' in ended.stdout) == second
    scored = {"fairseq": 15, "gnmt": 15}
    for search, lines in (scored | {"fairseq1": 35, "gnmt1": 35} if second else scored).items():
        paired = (tmp_path / f"run/results/paired-{search}-1.txt").read_text()
        assert str(tmp_path) not in paired
        for name in names:
            hypotheses = f"{name}-1/{search}/hypotheses.txt"
            assert len((tmp_path / "run" / hypotheses).read_text().split("\n")) == lines + 1
            assert hypotheses in paired
    if not second:  # each trained for as many updates as were measured for it, in so much time
        for name in names:
            measured = (tmp_path / f"run/updates-{name}/updates").read_text()
            assert float(found[name, "1", "updates"]) == int(measured) >= 1
        longer = settings | {"MINUTES": 0.03}
        message = error(run("claims/translation.sh", *small, cwd=tmp_path, **longer))
        assert "updates-32-timed was made with 0.02m --arch" in message


@pytest.mark.slow
def test_fewer_bits(tmp_path: Path) -> None:
    settings = pairs_of_phrases(tmp_path) | {"SEEDS": 1, "UPDATES": 6, "VOCABULARY": 300}
    folder = tmp_path / "run"
    ended = run("claims/precision.sh", *TINY, cwd=tmp_path, RUN_DIR=folder, **settings)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = figures(folder / "results")
    for cell in ("float32", "bfloat16"):
        assert float(found[cell, "1", "valid ppl/piece"]) > 1
        for search, weights in (("gnmt", "float32"), ("packed", "int8")):
            assert float(found[cell, "1", f"BLEU, weights in {weights}"]) >= 0
            hypotheses = (folder / f"{cell}-1/{search}/hypotheses.txt").read_text()
            assert len(hypotheses.splitlines()) == 15
    assert "--int8" in SEARCHES["packed"] and "--int8" not in SEARCHES["gnmt"]


@pytest.mark.slow
def test_several_languages(tmp_path: Path) -> None:
    names, pairs = {"train": 200, "val": 20, "test_2016_flickr": 30}, ["en-fr", "de-en", "fr-de"]
    words = {"en": "dog cat house", "de": "hund katze haus", "fr": "chien chat maison"}
    (tmp_path / "captions").mkdir()
    for name, lines in names.items():
        for language, known in words.items():
            text = [f"{known.split()[n % 3]} {name} {n} ." for n in range(lines)]
            (tmp_path / f"captions/{name}.{language}").write_text("\n".join(text) + "\n")
    settings = {"MULTI30K": "captions", "PAIRS": " ".join(pairs), "RUN_DIR": "run", "SEEDS": 1}
    settings |= {"UPDATES": 8, "VOCABULARY": 320}
    ended = run("claims/multilingual.sh", *TINY, cwd=tmp_path, **settings)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert headings(ended.stdout)[-2:] == ["dense-1", "32-1"]
    assert "test text: 90 lines" in ended.stdout
    assert 'MULTI30K=captions PAIRS="en-fr de-en fr-de" UPDATES=8' in ended.stdout
    found = figures(tmp_path / "run/results")
    for name in ("dense", "32"):
        each = [float(found[name, "1", f"BLEU {pair}"]) for pair in pairs]
        assert float(found[name, "1", "mean BLEU"]) == pytest.approx(sum(each) / 3, abs=0.01)
        for pair in pairs:
            lines = (tmp_path / f"run/{name}-1/fairseq/{pair}.txt").read_text().split("\n")
            assert len(lines) == 31
    for layer in ("encoder.2", "decoder.1"):
        assert 0 <= float(found["32", "1", f"{layer}: bits of the language"]) <= 1.6
        assert ("dense", "1", f"{layer}: bits of the language") not in found
    assert all(pair in (tmp_path / "run/results/picture.svg").read_text() for pair in pairs)
