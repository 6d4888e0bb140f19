"""The recipes as a user runs them, on tiny settings and from another working directory."""

import fcntl
import gzip
import json
import random
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.recipes import ROOT, TRAINING, error, headings, killed, run

STAGES = ["corpus", "wordpieces", "binary", "training", "translation", "examples", "report"]


@pytest.mark.parametrize(
    ("recipe", "targets"), [("quickstart.sh", "de fr"), ("multi30k.sh", "de fr cs")]
)
def test_help_and_mistyped_arguments(recipe: str, targets: str, tmp_path: Path) -> None:
    help_text, usage = run(recipe, "--help").stdout, targets.replace(" ", "|")
    assert help_text.startswith(f"usage: recipes/{recipe} [{usage}]") and "RUN_DIR" in help_text
    said = f"unknown target language 'es': choose {targets.replace(' ', ' or ')}\n"
    assert error(run(recipe, "es")) == f"{recipe.removesuffix('.sh')}: {said}"
    assert "unknown option '--cleen'" in error(run(recipe, "de", "--cleen"))
    assert "one target language" in error(run(recipe, "de", "fr"))
    assert "a colon" in error(run(recipe, RUN_DIR=tmp_path / "a:b"))


def test_never_takes_a_folder_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for arguments in ([], ["--clean"]):
        assert "holds other files" in error(run("quickstart.sh", *arguments, RUN_DIR=tmp_path))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_other_settings_than_before_stop_it(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    settings = {"RUN_DIR": tmp_path / "run", "MULTI30K": nowhere}
    first = run("multi30k.sh", **settings)
    assert f"no folder {nowhere}" in first.stderr
    assert "stopped in stage corpus; the same command continues there" in first.stderr
    assert "seed=1, now it is" in error(run("multi30k.sh", **settings, SEED=2))
    assert "now it is target=fr" in error(run("multi30k.sh", "fr", **settings))
    changed = error(run("multi30k.sh", **(settings | {"MULTI30K": tmp_path})))
    assert f"was made with from={nowhere}, now it is from={tmp_path}: use --clean" in changed
    fresh = run("multi30k.sh", "fr", "--clean", **settings)
    assert f"no folder {nowhere}" in fresh.stderr


def test_says_how_to_go_on_when_multi30k_cannot_be_cloned(tmp_path: Path) -> None:
    url = tmp_path / "no-repository"
    failed = run("multi30k.sh", RUN_DIR=tmp_path / "run", MULTI30K_URL=url)
    assert failed.returncode == 1
    assert "name their folder, MULTI30K=/path/to/folder" in failed.stderr


class TestSetup:
    """``setup.sh`` in a bare copy: how it says what is missing."""

    @pytest.fixture
    def setup(self, tmp_path: Path) -> Path:
        (tmp_path / "recipes").mkdir()
        for name in ("recipes/setup.sh", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, tmp_path / name)
        (tmp_path / "bin").mkdir()
        for name in ("bash", "dirname", "cat", "tail", "rm"):
            (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
        return tmp_path / "recipes/setup.sh"

    def fake(self, setup: Path, name: str, body: str) -> str:
        path = setup.parents[1] / "bin" / name
        path.write_text(f"#!{shutil.which('bash')}\n{body}\n")
        path.chmod(0o755)
        return str(path)

    def test_no_python(self, setup: Path) -> None:
        text = error(run(setup, fresh=True, PATH=setup.parents[1] / "bin"))
        assert "needs Python 3.11, 3.12 or 3.13; found: none" in text

    def test_only_an_old_python(self, setup: Path) -> None:
        old = self.fake(setup, "python3", "echo 3.10")
        self.fake(setup, "python3.12", "exit 127")  # as pyenv leaves it
        text = error(run(setup, fresh=True, PATH=setup.parents[1] / "bin"))
        assert "found: python3 is 3.10" in text and "3.12 is" not in text
        assert f"found: {old} is 3.10" in error(run(setup, fresh=True, PYTHON=old))
        assert "which does not run" in error(run(setup, fresh=True, PYTHON="/no/python"))

    def test_python_without_venv_or_headers(self, setup: Path) -> None:
        no_venv = self.fake(setup, "python3", '[[ $2 == *ensurepip* ]] && exit 1; echo "3.12"')
        assert "apt install python3.12-venv" in error(run(setup, fresh=True, PYTHON=no_venv))
        no_headers = self.fake(setup, "python3", '[[ $2 == *Python.h* ]] && exit 1; echo "3.12"')
        assert "apt install python3.12-dev" in error(run(setup, fresh=True, PYTHON=no_headers))

    def test_no_compiler(self, setup: Path) -> None:
        self.fake(setup, "python3", 'echo "3.12"')
        text = error(run(setup, fresh=True, PATH=setup.parents[1] / "bin"))
        assert "no C++ compiler" in text and "apt install g++" in text
        assert "CXX=/bin/false does not compile" in error(run(setup, fresh=True, CXX="/bin/false"))


def test_one_recipe_at_a_time_in_a_folder(tmp_path: Path) -> None:
    # With no data there is nothing that it could finish.
    first = run("multi30k.sh", MULTI30K=tmp_path / "none", RUN_DIR=tmp_path / "run")
    assert "no folder" in first.stderr
    with (tmp_path / "run/.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        again = partial(run, "multi30k.sh", MULTI30K=tmp_path / "none", RUN_DIR=tmp_path / "run")
        with ThreadPoolExecutor() as both:  # each waits for some seconds
            ended = [both.submit(again), both.submit(again, "--clean")]
        for finished in ended:
            assert "another command is at work in" in error(finished.result())


@pytest.mark.slow
def test_quickstart_killed_and_continued(tmp_path: Path) -> None:
    folder = tmp_path / "a run"  # with a space
    command = ["quickstart.sh", "fr", *TRAINING, "--max-epoch", "3"]
    last = folder / "training/checkpoint_last.pt"
    killed(*command, after=last.exists, RUN_DIR="a run", cwd=tmp_path)
    assert last.exists() and not (folder / "training/.done").exists()

    again = run(*command, RUN_DIR="a run", cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    done = [f"{name}: done" for name in STAGES[:3]]
    assert headings(again.stdout) == [*done, *STAGES[3:]]
    assert "Loaded checkpoint" in again.stdout and "epoch 3 done" in again.stdout
    assert "BLEU, detokenised:" in again.stdout and "encoder 2" in again.stdout
    assert again.stdout.count("  -> ") == 5
    assert "wrote a run/report/report.html" in again.stdout.replace(f"{tmp_path}/", "")
    assert re.search(r"^report +\S.*/a run/report/report.html$", again.stdout, re.MULTILINE)
    assert (folder / "report/report.html").stat().st_size > 4_000_000  # Plotly is in it
    # Nine sentences: no multiple of eight, and all of them translated.
    assert len((folder / "translation/hypotheses.txt").read_text().splitlines()) == 9

    shutil.rmtree(folder / "translation")
    third = run(*command, RUN_DIR=folder)
    done = [f"{name}: done" for name in STAGES[:4]]
    assert headings(third.stdout) == [*done, *STAGES[4:]]

    trained = (folder / "training/checkpoint_best.pt").read_bytes()
    other = tmp_path / "other"
    shutil.copytree(folder, other, copy_function=shutil.copyfile)  # files have other times
    for marker in sorted(other.glob("*/.[sd]*"), reverse=True):
        marker.touch()
    fourth = run(*command, RUN_DIR=other)
    assert headings(fourth.stdout) == [f"{name}: done" for name in STAGES]
    assert (other / "training/checkpoint_best.pt").read_bytes() == trained


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like Multi30k's, with an empty and a very long line in training and test."""
    folder = tmp_path_factory.mktemp("captions")
    chance = random.Random(1)
    words = {"en": "dog man red park runs two the in".split(), "de": "Hund Mann Park der".split()}
    odd = {6: "", 7: "dog " * 200}  # more than 100 pieces; not among the five examples
    sizes = {"train": 100, "val": 10, "test_2016_flickr": 9, "test_2017_mscoco": 9}
    for name, size in sizes.items():
        for language, choice in words.items():
            lines = [" ".join(chance.choices(choice, k=6)) for _ in range(size)]
            for number, line in odd.items():
                lines[number] = line
            text = "".join(f"{line}\n" for line in lines).encode()
            (folder / f"{name}.{language}.gz").write_bytes(gzip.compress(text))
    return folder


@pytest.mark.slow
def test_multi30k_loses_no_test_sentence(tmp_path: Path, captions: Path) -> None:
    small = {"VOCABULARY": "40", "RUN_DIR": tmp_path / "run"}
    finished = run("multi30k.sh", *TRAINING, "--max-epoch", "1", MULTI30K=captions, **small)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "train: 100 pairs, 98 kept; dropped 1 with an empty side and 1 with" in finished.stdout
    assert "test: 9 pairs, all kept; 1 with an empty side and 1 with more" in finished.stdout
    assert re.search(r"[\d,]+ updates in 60m, at [\d.]+ a second", finished.stdout)
    translation = tmp_path / "run/translation"
    for folder in (translation, translation / "test_2017_mscoco"):
        assert len((folder / "hypotheses.txt").read_text().split("\n")) == 10
    for label in ("", "test 2017 mscoco "):
        assert f"BLEU, {label}detokenised:" in finished.stdout
        assert f"BLEU, {label}tokenised lower-cased:" in finished.stdout
    assert "case:lc" in finished.stdout


@pytest.mark.slow
def test_multi30k_as_papers_have_it_is_scored_in_both_ways(tmp_path: Path, captions: Path) -> None:
    small = {"VOCABULARY": "40", "RUN_DIR": tmp_path / "run", "PAPERS": 1, "TIME": "20m"}
    finished = run("multi30k.sh", *TRAINING, "--max-epoch", "1", MULTI30K=captions, **small)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    corpus = tmp_path / "run/corpus"
    words = {"hund", "mann", "park", "der", "dog"}  # the last one of an odd line
    assert set((corpus / "en-de/train.de").read_text().split()) == words
    assert "Hund" in (corpus / "as-it-is/test.de").read_text()
    assert "BLEU, detokenised lower-cased:" in finished.stdout
    assert "BLEU, test 2017 mscoco tokenised lower-cased:" in finished.stdout
    record = json.loads((tmp_path / "run/record.json").read_text())
    [score] = re.findall(r"^BLEU, tokenised lower-cased: ([\d.]+)", finished.stdout, re.MULTILINE)
    assert f"{record['scores']['tokenised_lower-cased']['score']:.2f}" == score
    assert record["settings"]["papers"] == "1" and record["seconds"]["training"] > 0


@pytest.mark.parametrize("setting", ["TIME=soon", "TIME=60", "PAPERS=yes"])
def test_multi30k_refuses_what_is_no_time(tmp_path: Path, setting: str) -> None:
    name, _, value = setting.partition("=")
    refused = run("multi30k.sh", RUN_DIR=tmp_path / "run", **{name: value})
    assert refused.returncode and f"multi30k: {setting}" in error(refused)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_multi30k_is_cloned(tmp_path: Path, captions: Path) -> None:
    repository = tmp_path / "dataset"
    shutil.copytree(captions, repository / "data/task1/raw")
    (repository / "data/task1/raw/train.en.gz").unlink()
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "captions"]):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
        subprocess.run(["git", *who, *command], cwd=repository, check=True)
    # As a user runs it, with processes of their own.
    url = f"file://{repository}"
    finished = run("multi30k.sh", fresh=True, RUN_DIR=tmp_path / "run", MULTI30K_URL=url)
    # The clone is there, and used: what it lacks is what is missed.
    assert headings(finished.stdout) == ["download", "corpus"]
    assert "holds neither train.en.gz nor train.en" in finished.stderr
