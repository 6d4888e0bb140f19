"""Modules in the folder where the user is do not stand in for those that commands import."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import nmt_moe
from nmt_moe.common.errors import exit_code
from tests.recipes import ROOT, environment, run
from tests.reliability.old.use import FOLDER, unpack

NAMES = ("tokenize", "random", "string", "fairseq", "torch", "numpy", "sentencepiece")


@pytest.fixture
def around(tmp_path: Path) -> Path:
    """A folder with a clone named nmt_moe, and with modules that nobody wants."""
    (tmp_path / "nmt_moe").symlink_to(ROOT)
    for number, name in enumerate(NAMES):
        path = tmp_path / (f"{name}.py" if number % 2 else f"{name}/__init__.py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"raise SystemExit('{name} of the current folder')\n")
    return tmp_path


@pytest.mark.slow
def test_a_recipe(around: Path, tmp_path_factory, tally) -> None:
    release = FOLDER / "0.1.0"
    checkpoint = unpack(release / "translation", tmp_path_factory.mktemp("model"))
    text = "".join((release / "test.en").read_text().splitlines(keepends=True)[:2])
    script = around / "nmt_moe/recipes/translate.sh"
    ended = run(script, str(checkpoint), "--device", "cpu", cwd=around, input=text)
    assert ended.returncode == 0 and len(ended.stdout.splitlines()) == 2, ended.stderr
    tally(inputs=2)


def test_what_a_recipe_runs_and_launch(around: Path) -> None:
    program = around / "program.py"
    # In one write: the lines of two processes may mix.
    text = "import tokenize, random, string; print(f\"{'lib' in tokenize.__file__} \", end='')\n"
    program.write_text(text)
    program.chmod(0o755)
    script = f"source '{ROOT}/recipes/common.sh'; python -c 'import tokenize, random, fairseq'"
    command = ["bash", "-c", script]
    subprocess.run(command, cwd=around, env=environment(CDPATH="/:/tmp"), check=True, timeout=60)
    ended = run("launch.sh", "./program.py", cwd=around)  # asks torch how many GPUs there are
    assert ended.returncode == 0 and ended.stdout.split() == ["True", "True"], ended


def test_what_a_user_types(around: Path) -> None:
    (around / "nmt_moe").unlink()
    command = [sys.executable, "-m", "nmt_moe.plan", "--arch", "lstm_moe_tiny"]
    ended = subprocess.run(command, cwd=around, capture_output=True, encoding="utf-8", timeout=120)
    assert ended.returncode == 0 and "experts" in ended.stdout, ended.stderr


def test_a_folder_that_stands_in_for_the_package(monkeypatch, capsys) -> None:
    """As with an installation of an older version: modules of ours are found, the package not."""
    monkeypatch.setattr(nmt_moe, "__file__", None)
    monkeypatch.setattr(nmt_moe, "__path__", ["/around/nmt_moe"])
    assert exit_code(lambda: print("ran")) == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: /around/nmt_moe stands in for the package nmt_moe here")
    assert not said.out


def test_an_editable_installation_is_found_before_such_a_folder(tmp_path: Path) -> None:
    """It is a folder in sys.path: there a package comes before a mere folder of its name."""
    copy, out = tmp_path / "clone", tmp_path / "out"
    (copy / "nmt_moe/moe").mkdir(parents=True)
    out.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (copy / name).write_bytes((ROOT / name).read_bytes())
    for package in ("nmt_moe", "nmt_moe/moe"):
        (copy / package / "__init__.py").touch()
    code = "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"
    made = subprocess.run(
        [sys.executable, "-c", code, str(out)],
        cwd=copy,
        env=environment(CC="/bin/false"),  # the kernels are optional
        capture_output=True,
        encoding="utf-8",
    )
    assert made.returncode == 0, made.stderr
    [wheel] = out.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        [path] = [name for name in archive.namelist() if name.endswith(".pth")]
        assert archive.read(path).decode().strip() == str(copy)
