"""The licences of what is installed, and of packages that are made up."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.recipes import ROOT
from tests.tally import Tally

ALLOWED = [
    "License-Expression: MIT",
    "License-Expression: Apache-2.0 AND (MIT OR GPL-3.0-only)",
    "License-Expression: GPL-3.0-only OR BSD-2-Clause",
    "License-Expression: Apache-2.0 WITH LLVM-exception",
    "License-Expression: MIT\nLicense: GPL",
    "Classifier: License :: OSI Approved :: MIT License\nLicense: all of\n        its text",
    "License: Apache-2.0",
    "License: 3-Clause BSD License",
]
REFUSED = [
    "License-Expression: GPL-3.0-only",
    "License-Expression: MIT AND GPL-3.0-only",
    "License-Expression: (MIT OR Apache-2.0) AND AGPL-3.0-or-later",
    "License-Expression: Apache-2.0 WITH Some-exception",
    "License-Expression: LicenseRef-MIT",
    "License-Expression: MIT OR",
    "License-Expression: (MIT",
    "License-Expression: MIT MIT",
    "License-Expression: MIT)",
    "License-Expression: GPL-3.0-only\nLicense: MIT",
    "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)\nLicense: MIT",
    "Classifier: License :: OSI Approved :: MIT License\n"
    "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
    "License: Proprietary",
    "License: MIT License\n        and more",
    "License: MITx",
    "License: ",
    "Summary: says nothing",
]


def install(folder: Path, name: str, *lines: str) -> None:
    """What importlib.metadata finds of a package."""
    info = folder / f"{name.replace('-', '_')}-1.dist-info"
    info.mkdir(parents=True)
    head = ["Metadata-Version: 2.4", f"Name: {name}", "Version: 1"]
    (info / "METADATA").write_text("\n".join([*head, *lines, "", ""]))


def licences(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "recipes/licences.py", *arguments]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=200)


def wrong(folder: Path, *arguments: object) -> list[str]:
    """What is said of the packages of a folder."""
    finished = licences("--path", folder, *arguments)
    lines = finished.stderr.splitlines()
    assert finished.returncode == bool(lines), finished.stderr
    assert all(line.startswith("licences: ") for line in lines), finished.stderr
    return [line.removeprefix("licences: ") for line in lines]


def test_what_is_installed(tally: Tally) -> None:
    finished = licences()
    assert finished.returncode == 0 and not finished.stderr, finished.stderr
    *packages, last = finished.stdout.splitlines()
    found = {line.partition(" ")[0].lower() for line in packages}
    assert {"nmt-moe", "torch", "fairseq-fixed", "sacrebleu", "num2words", "pytest"} <= found
    assert last == f"{len(packages)} packages, 0 with a licence that is not allowed"
    tally(inputs=len(packages))


def test_expressions_classifiers_and_words(tmp_path: Path, tally: Tally) -> None:
    known = runpy.run_path(str(ROOT / "recipes/licences.py"))
    rules = known["tomllib"].loads((ROOT / "requirements/licences.toml").read_text())
    for number, text in enumerate([*ALLOWED, *REFUSED]):
        install(tmp_path / str(number), "made-up", text)
        [package] = known["needed"]("made-up", [str(tmp_path / str(number))])
        assert bool(known["trouble"](rules, package)) == (text in REFUSED), text
        tally(inputs=1)


def test_what_is_needed_is_found_and_named(tmp_path: Path) -> None:
    install(
        *(tmp_path, "nmt-moe", "License-Expression: MIT", "Provides-Extra: dev"),
        *("Requires-Dist: first", "Requires-Dist: missing", 'Requires-Dist: tool; extra == "dev"'),
        'Requires-Dist: elsewhere; sys_platform == "plan9"',
    )
    install(tmp_path, "first", "License-Expression: MIT", "Requires-Dist: Second_One>=1")
    install(tmp_path, "second-one", "License: Secret", "Requires-Dist: first")
    for name in ("tool", "elsewhere", "other"):
        install(tmp_path, name, "License-Expression: GPL-3.0-only")
    second = "second-one 1 declares 'Secret', which licences.toml does not allow"
    assert wrong(tmp_path, "--root", "nmt-moe") == [second]
    tool = "tool 1 declares 'GPL-3.0-only', which licences.toml does not allow"
    assert sorted(wrong(tmp_path)) == [second, tool]
    nothing = licences("--path", tmp_path / "nowhere")
    assert nothing.returncode == 2
    assert nothing.stderr == "licences: nmt-moe[dev] is not installed\n"


@pytest.mark.parametrize("name", ["num2words", "atheris"])
def test_an_exception_holds_for_what_it_names_only(tmp_path: Path, name: str) -> None:
    install(tmp_path / "a", name, "License-Expression: GPL-3.0-only")
    [said] = wrong(tmp_path / "a", "--root", name)
    assert said == f"{name} 1 declares 'GPL-3.0-only', which licences.toml does not allow"
    install(tmp_path / "b", name, "License-Expression: MIT")
    [said] = wrong(tmp_path / "b", "--root", name)
    assert said == f"{name} needs no exception in licences.toml: it declares MIT"
