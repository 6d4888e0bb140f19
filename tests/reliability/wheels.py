"""Packages that are made up, and a copy of the repository in which recipes install them."""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

from tests.recipes import ROOT, environment

# Puts the wheel that lies there: nothing is fetched for it.
BACKEND = """
import shutil

def build_editable(folder, *_):
    return shutil.copy("made/nmt_moe-1-py3-none-any.whl", folder).rpartition("/")[2]
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "nmt-moe"
version = "1"
"""


def wheel(folder: Path, name: str, *needs: str, text: str = "") -> str:
    """Make a wheel of version 1 with a module of that text; returns its line of requirements."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-1.dist-info"
    needed = "".join(f"Requires-Dist: {need}\n" for need in needs)
    files = {
        f"{name}.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{needed}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},{_digest(content)},{len(content)}\n" for path, content in files.items()
    )
    path = folder / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        for inner, content in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            packed.writestr(inner, content)
    return line(path)


def line(path: Path) -> str:
    """The line of requirements for the file of a package of version 1."""
    name = path.name.partition("-1")[0]
    return f"{name}==1 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def source(folder: Path, name: str, setup: str) -> str:
    """The same of a source archive, whose ``setup.py`` is run where it is built."""
    inside = folder / f"{name}-1"
    inside.mkdir(parents=True)
    (inside / "setup.py").write_text(setup)
    (inside / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    with tarfile.open(folder / f"{name}-1.tar.gz", "w:gz") as tar:
        tar.add(inside, inside.name)
    return line(folder / f"{name}-1.tar.gz")


def _digest(text: str) -> str:
    found = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={found.decode().rstrip('=')}"


def repository(folder: Path, *names: str) -> Path:
    """A folder with those files and folders of the repository."""
    for name in ("recipes", *names):
        place = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        folder.mkdir(parents=True, exist_ok=True)
        place(ROOT / name, folder / name)
    return folder


def recipe(folder: Path, *command: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a recipe of a copy; what it has of pip's settings are these alone."""
    kept = {
        name: value
        for name, value in environment().items()
        if not name.startswith("PIP_") or name == "PIP_CERT"
    }
    return subprocess.run(
        [str(folder / "recipes" / command[0]), *command[1:]],
        cwd="/",
        env=kept | {"PIP_CONFIG_FILE": os.devnull} | {k: str(v) for k, v in settings.items()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=500,
    )
