"""The recipes that train several models, on tiny settings and from another working directory."""

import shutil
from pathlib import Path

import pytest

from tests.recipes import error, headings, run

# An option given again later wins.
TINY = ["--", "--dim", "16", "--lstm-cells", "16", "--moe-hidden-dim", "16", "--log-interval", "2"]


@pytest.mark.parametrize("recipe", ["lm.sh", "gatings.sh"])
def test_help_and_mistyped_arguments(recipe: str) -> None:
    help_text = run(recipe, "--help").stdout
    assert help_text.startswith(f"usage: recipes/{recipe}") and "RUN_DIR" in help_text
    assert "unknown option '--cleen'" in error(run(recipe, "--cleen"))
    assert "'es'" in error(run(recipe, "es"))


def test_unknown_names_and_missing_text(tmp_path: Path) -> None:
    assert "unknown model 'wide'" in error(run("lm.sh", MODELS="4 wide"))
    assert "unknown gating 'top'" in error(run("gatings.sh", GATINGS="top"))
    missing = run("lm.sh", TEXT="no.txt", cwd=tmp_path)
    assert error(missing) == f"lm: no file or folder TEXT={tmp_path}/no.txt\n"


def table(folder: Path, printed: str) -> list[list[str]]:
    """The cells of the table that a recipe has printed and written."""
    text = (folder / "table.md").read_text()
    assert printed.endswith(text)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.slow
def test_language_models(tmp_path: Path) -> None:
    folder = tmp_path / "a run"  # with a space
    sizes = {"PHRASES": 200, "VALID_LINES": 10, "TEST_LINES": 9, "UPDATES": 4, "RUN_DIR": folder}
    first = run("lm.sh", *TINY, MODELS="dense 8", **sizes)
    assert first.returncode == 0, first.stdout + first.stderr
    before = ["phrasebook", "corpus", "wordpieces", "binary"]
    assert headings(first.stdout) == [*before, "dense", "8"]
    heads, _, dense, experts = table(folder, first.stdout)
    assert heads[:2] == ["model", "ops/timestep"] and dense[0] == "dense" and experts[0] == "MoE-8"
    assert int(experts[1].replace(",", "")) - int(dense[1].replace(",", "")) == 2 * 16 * 8  # gate

    # A model that is new is trained, the others stay.
    second = run("lm.sh", *TINY, MODELS="4 dense 8", **sizes)
    done = [f"{name}: done" for name in before]
    assert headings(second.stdout) == [*done, "4", "dense: done", "8: done"]
    assert [row[0] for row in table(folder, second.stdout)[2:]] == ["MoE-4", "dense", "MoE-8"]

    shutil.rmtree(folder / "8")
    third = run("lm.sh", *TINY, MODELS="dense 8", **sizes)
    assert headings(third.stdout) == [*done, "dense: done", "8"]


@pytest.mark.slow
def test_language_models_of_a_given_text(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("".join(f"the dog number {number} runs\n" for number in range(40)))
    sizes = {"VALID_LINES": 10, "TEST_LINES": 9, "UPDATES": 2, "MODELS": "4", "VOCABULARY": 40}
    finished = run("lm.sh", *TINY, TEXT="text", RUN_DIR="run", cwd=tmp_path, **sizes)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "train: 21 lines, valid: 10 lines, test: 9 lines" in finished.stdout
    changed = run("lm.sh", *TINY, TEXT="other", RUN_DIR="run", cwd=tmp_path, **sizes)
    assert "no file or folder" in error(changed)
    too_few = run(
        "lm.sh", *TINY, TEXT="text", RUN_DIR="2", cwd=tmp_path, **sizes | {"TEST_LINES": 90}
    )
    assert too_few.returncode == 1 and "40 different lines: too few" in too_few.stderr


@pytest.mark.slow
def test_gatings(tmp_path: Path) -> None:
    names = ["top_k", "strictly_balanced-groups"]
    settings = {"GATINGS": " ".join(names), "UPDATES": 4, "RUN_DIR": tmp_path / "run"}
    first = run("gatings.sh", "fr", *TINY, **settings)
    assert first.returncode == 0, first.stdout + first.stderr
    assert headings(first.stdout) == ["corpus", "wordpieces", "binary", *names]
    rows = {row[0]: row[1:] for row in table(tmp_path / "run", first.stdout)}
    assert rows[""] == names
    assert all(float(figure) > 0 for figure in rows["training perplexity, update 4"])
    assert "encoder 2, training: unused experts" in rows
    assert "decoder 1, validation: CV(load)" in rows

    again = run("gatings.sh", "fr", *TINY, **settings)
    assert all(name.endswith(": done") for name in headings(again.stdout))
    assert table(tmp_path / "run", again.stdout)
