"""The wheel, installed where nothing of the clone is: all commands start, and find their files."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "nmt_moe"
BUILT = {".so", ".pyc"}
SOURCES = {".c", ".h"}  # of what is built

# Runs every command in one process, as to import fairseq takes seconds; prints what was wrong.
PROBE = """
import contextlib, io, json, runpy, sys
from pathlib import Path

modules, home = json.loads(sys.argv[1]), Path(sys.argv[2])
wrong = {}
for module in modules:
    sys.argv = [module, "--help"]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException as error:
        code = repr(error)
    if code not in (0, None) or "usage: " not in said.getvalue():
        wrong[module] = code
import nmt_moe
from nmt_moe.corpus import manifest
from nmt_moe.kernels.cpu.extension import library
from nmt_moe.report.page import html
wrong |= {} if Path(nmt_moe.__file__).is_relative_to(home) else {"from": nmt_moe.__file__}
known = [manifest.load(manifest.find(pair)) for pair in manifest.PAIRS]
assert all(one.train and one.test for one in known)
print(json.dumps(wrong))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    unbuilt = shutil.ignore_patterns("*.so", "__pycache__")
    for name in ("nmt_moe", "hydra_plugins"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=unbuilt)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "source"]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", *map(str, options)]
    subprocess.run(command, check=True, timeout=500)
    [made] = folder.glob("*.whl")
    return made


@pytest.mark.slow
def test_the_wheel_is_whole(wheel: Path) -> None:
    """All that is in the package's folders, and what was built of its sources."""
    packed = zipfile.ZipFile(wheel)
    [scripts] = [name for name in packed.namelist() if name.endswith("/entry_points.txt")]
    assert b"nmt-moe = nmt_moe.cli.main:console" in packed.read(scripts)
    names = {name for name in packed.namelist() if ".dist-info/" not in name}
    there = {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in BUILT | SOURCES
    }
    built = {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*.so")
        if any(path.parent.glob("*.c"))  # others are left from where its sources once were
    }
    end = sysconfig.get_config_var("EXT_SUFFIX")
    assert there <= names
    assert {name for name in names - there if not name.endswith((".c", ".h"))} >= {
        name for name in built if name.endswith(end)
    }
    beside = {name for name in names if not name.startswith("nmt_moe/")}
    assert beside == {"hydra_plugins/nmt_moe_models.py"}


@pytest.mark.slow
def test_every_command_starts_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "environment", tmp_path / "elsewhere"
    elsewhere.mkdir()
    venv.create(home, with_pip=False, symlinks=True)
    [packages] = (home / "lib").glob("python*/site-packages")
    zipfile.ZipFile(wheel).extractall(packages)
    # The dependencies, without the link from there to the clone: no .pth of theirs is read.
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "__init__.py"
        and re.search(r'door\(__name__|__name__ == "__main__"', path.read_text(encoding="utf-8"))
    ]
    assert len(modules) > 15
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    python = str(home / "bin/python")

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [python, *map(str, arguments)]
        return subprocess.run(
            command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=300
        )

    probed = run("-c", PROBE, json.dumps(modules), home)
    assert probed.returncode == 0, probed.stderr
    assert json.loads(probed.stdout.splitlines()[-1]) == {}
    options = ["--archives", elsewhere / "archives", "--mirror", (tmp_path / "none").as_uri()]
    download = run("-m", "nmt_moe.corpus.download", "en-de", *options)
    assert download.returncode == 1 and "manifest" not in download.stderr, download.stderr
    assert "Traceback" not in download.stderr
