"""The multilingual recipe on tiny settings and from another working directory."""

import shutil
from pathlib import Path

import pytest

from tests.recipes import error, headings, run

# An option given again later wins.
TINY = [
    *("--", "--dim", "16", "--lstm-cells", "16", "--moe-hidden-dim", "16"),
    *("--log-interval", "2", "--max-tokens", "400"),
]
SIZES = {"UPDATES": 4, "EXPERTS": 4, "VOCABULARY": 200, "CORPORA": ""}


def test_help_and_mistyped_arguments(tmp_path: Path) -> None:
    help_text = run("multilingual.sh", "--help").stdout
    assert help_text.startswith("usage: recipes/multilingual.sh [LANGUAGE|PAIR...]")
    assert "unknown option '--cleen'" in error(run("multilingual.sh", "--cleen"))
    settings = {"RUN_DIR": tmp_path / "run"}
    line = error(run("multilingual.sh", "es", "en-xx", CORPORA="", **settings))
    assert line.startswith("error: the phrasebook has no language 'xx': choose from af ")
    both = run("multilingual.sh", "es", CORPORA="en-de=a", **settings)
    assert "CORPORA names the pairs already: leave out 'es'" in error(both)
    odd = run("multilingual.sh", CORPORA="en-de", **settings)
    assert "CORPORA holds 'en-de', which is not PAIR=FOLDER" in error(odd)
    assert not (tmp_path / "run").exists()


def table(folder: Path, printed: str) -> dict[str, list[str]]:
    """The rows of the tables that the recipe has printed and written."""
    text = (folder / "table.md").read_text()
    assert printed.endswith(text)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.slow
def test_phrasebook_then_given_corpora(tmp_path: Path) -> None:
    folder = tmp_path / "a run"  # with a space
    first = run("multilingual.sh", "es", "de-fr", *TINY, RUN_DIR=folder, **SIZES)
    assert first.returncode == 0, first.stdout + first.stderr
    stages = ["corpus", "wordpieces", "binary", "dense", "moe"]
    assert headings(first.stdout) == stages
    rows = table(folder, first.stdout)
    pairs = ["en-es", "es-en", "de-fr"]
    assert [row for row in rows if row in pairs] == pairs
    assert all(rows[pair][0] == "9" for pair in pairs)
    assert rows["updates"] == ["4", "4"]
    sources = (folder / "wordpieces/test.src").read_text().splitlines()
    assert [line.split(" ")[0] for line in sources] == ["<2es>"] * 9 + ["<2en>"] * 9 + ["<2fr>"] * 9
    for name in ("dense", "moe"):
        assert all(
            len((folder / name / f"{pair}.txt").read_text().splitlines()) == 9 for pair in pairs
        )

    shutil.rmtree(folder / "moe")
    again = run("multilingual.sh", "es", "de-fr", *TINY, RUN_DIR=folder, **SIZES)
    assert headings(again.stdout) == [*(f"{name}: done" for name in stages[:4]), "moe"]
    assert table(folder, again.stdout)["en-es"][1] == rows["en-es"][1]
    other = error(run("multilingual.sh", "es", *TINY, RUN_DIR=folder, **SIZES))
    assert "was made with pairs=en-es es-en de-fr, now it is pairs=en-es es-en" in other

    # The same text by path goes the same way, here until an option that fairseq does not know.
    shutil.copytree(folder / "corpus/de-fr", tmp_path / "text")
    given = {"CORPORA": f"de-fr={tmp_path}/text", "RUN_DIR": "run", "cwd": tmp_path}
    stopped = run("multilingual.sh", "--", "--no-such-option", **SIZES | given)
    assert headings(stopped.stdout) == stages[1:4]
    assert "unrecognized arguments: --no-such-option" in stopped.stdout + stopped.stderr
    assert "stopped in stage dense" in stopped.stderr
    assert (tmp_path / "run/wordpieces/test.tgt").read_text().count("\n") == 9
