"""What setup.sh installs, and what it refuses: made-up packages in a copy of the repository."""

import compileall
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.reliability import wheels
from tests.tally import Tally


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but pip, that of this one: another takes long to compile."""
    folder = tmp_path_factory.mktemp("venv") / ".venv"
    command = [sys.executable, "-m", "venv", "--without-pip", folder]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    [packages] = folder.glob("lib/python*/site-packages")
    for path in Path(sysconfig.get_path("purelib")).glob("pip*"):
        if path.name.partition("-")[0] == "pip":
            shutil.copytree(path, packages / path.name)
    compileall.compile_dir(packages, quiet=2)  # where pip was not: or it would be each time
    return folder


@pytest.fixture
def copy(tmp_path: Path, venv: Path) -> Path:
    """A repository that needs a wheel, torch and a source archive, with the files of all."""
    folder = wheels.repository(tmp_path / "a copy")
    shutil.copytree(venv, folder / ".venv", symlinks=True, copy_function=os.link)
    (folder / "pyproject.toml").write_text(wheels.PROJECT)
    (folder / "backend.py").write_text(wheels.BACKEND)
    (folder / "constraints.txt").write_text("torch==1\n")
    made, requirements = folder / "made", folder / "requirements"
    requirements.mkdir()
    (requirements / "wheels.txt").write_text(wheels.wheel(made, "first"))
    (requirements / "sources.txt").write_text(wheels.wheel(made, "second", "first", "torch"))
    wheels.wheel(made, "torch")
    wheels.wheel(made, "nmt_moe", "second")
    return folder


def setup(folder: Path) -> subprocess.CompletedProcess[str]:
    made = (folder / "made").as_uri()
    return wheels.recipe(folder, "setup.sh", PIP_NO_INDEX=1, PIP_FIND_LINKS=made)


def installed(folder: Path) -> set[str]:
    found = folder.glob(".venv/lib/python*/site-packages/*-1.dist-info")
    return {path.name.removesuffix("-1.dist-info") for path in found}


def refused(folder: Path, *, at: str, tally: Tally) -> str:
    """What it says; nothing that comes ``at`` that package or later is there."""
    finished = setup(folder)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    order = ["first", "torch", "second", "nmt_moe"]
    assert installed(folder) == {*order[: order.index(at)]}
    assert not (folder / ".venv/installed").exists()
    tally(faults=1)
    return finished.stderr


def test_nothing_is_installed_into_the_python_that_a_broken_environment_is_of(
    copy: Path, tally: Tally
) -> None:
    (copy / ".venv/pyvenv.cfg").unlink()
    finished = setup(copy)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert (copy / ".venv/pyvenv.cfg").is_file()
    assert installed(copy) == {"first", "torch", "second", "nmt_moe"}
    tally(faults=1)


def test_an_environment_that_a_link_leads_to_is_left_as_it_is(copy: Path, tally: Tally) -> None:
    other = copy.parent / "other"
    (copy / ".venv").rename(other)
    (other / "installed").write_text("/another/folder\n")
    before = {path: path.lstat().st_mtime_ns for path in other.rglob("*")}
    (copy / ".venv").symlink_to(other)
    finished = setup(copy)
    assert finished.returncode == 1
    assert finished.stderr == (
        f"setup: {copy}/.venv is a link to {other}, which is not this folder's, or broken. Nothing "
        "there was changed: remove the link, or let it lead to an empty folder\n"
    )
    assert before == {path: path.lstat().st_mtime_ns for path in other.rglob("*")}
    tally(faults=1)


def test_a_link_to_a_folder_on_another_disk_is_used(copy: Path) -> None:
    other = copy.parent / "other"
    (copy / ".venv").rename(other)
    (copy / ".venv").symlink_to(other)
    assert setup(copy).returncode == 0
    assert (copy / ".venv").is_symlink() and (other / "installed").is_file()


def test_what_is_as_it_was_locked_is_installed_once(copy: Path) -> None:
    finished = setup(copy)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert installed(copy) == {"first", "second", "torch", "nmt_moe"}
    again = setup(copy)
    assert again.returncode == 0 and not again.stdout + again.stderr


@pytest.mark.parametrize("name", ["first", pytest.param("second", marks=pytest.mark.slow)])
def test_another_file_than_was_locked_is_refused(copy: Path, name: str, tally: Tally) -> None:
    wheels.wheel(copy / "made", name, text="print('harm')")
    said = refused(copy, at=name, tally=tally)
    assert len(said.splitlines()) == 1, said
    assert said.startswith(
        f"setup: the file of {name}==1 has another checksum than requirements/ says: it is damaged"
    )


@pytest.mark.parametrize("name", ["wheels", pytest.param("sources", marks=pytest.mark.slow)])
def test_a_package_without_checksum_is_refused(copy: Path, name: str, tally: Tally) -> None:
    path = copy / f"requirements/{name}.txt"
    path.write_text(path.read_text().partition(" ")[0] + "\n")
    said = refused(copy, at={"wheels": "first", "sources": "second"}[name], tally=tally)
    assert "Hashes are required in --require-hashes mode" in said
    assert said.splitlines()[-1].startswith("setup: the installation failed; all of pip's output")


def test_nothing_is_built_in_place_of_a_wheel(copy: Path, tally: Tally) -> None:
    (copy / "made/first-1-py3-none-any.whl").unlink()
    harm = copy / "harm"
    line = wheels.source(copy / "made", "first", f"open({str(harm)!r}, 'w')")
    (copy / "requirements/wheels.txt").write_text(line)
    assert "No matching distribution found for first==1" in refused(copy, at="first", tally=tally)
    assert not harm.exists()


@pytest.mark.slow
def test_what_is_not_locked_is_not_installed(copy: Path, tally: Tally) -> None:
    made = copy / "made"
    wheels.wheel(made, "third")
    (copy / "requirements/wheels.txt").write_text(wheels.wheel(made, "first", "third"))
    finished = setup(copy)
    assert finished.returncode == 1
    assert "first 1 requires third, which is not installed." in finished.stderr
    assert "third" not in installed(copy) and not (copy / ".venv/installed").exists()
    tally(faults=1)


@pytest.mark.slow
def test_torch_has_the_version_of_the_constraint(copy: Path, tally: Tally) -> None:
    (copy / "constraints.txt").write_text("torch==2\n")
    assert "torch" in refused(copy, at="torch", tally=tally)


@pytest.mark.slow
def test_no_index_to_ask(copy: Path) -> None:
    for command, tool in (("audit", "pip-audit"), ("lock", "uv")):
        before = (copy / "requirements/wheels.txt").read_bytes()
        finished = wheels.recipe(copy, "dependencies.sh", command, PIP_NO_INDEX=1)
        assert finished.returncode == 2
        assert finished.stderr == (
            f"dependencies: {tool} cannot be installed, see .venv/tools/install.log\n"
        )
        assert (copy / "requirements/wheels.txt").read_bytes() == before
    mistyped = wheels.recipe(copy, "dependencies.sh", "lok")
    assert mistyped.returncode == 2 and mistyped.stderr.startswith("usage: ")
