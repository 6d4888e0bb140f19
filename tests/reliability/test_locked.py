"""requirements/ has all that pyproject.toml needs, and does not stand in the way of others."""

import json
import re
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.recipes import ROOT
from tests.reliability import wheels
from tests.tally import Tally

PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
OTHERS = {"bench"}  # an extra that setup.sh does not install
HASH = r" \\\n {4}--hash=sha256:[0-9a-f]{64}"


def locked() -> dict[str, list[Requirement]]:
    """The lines of requirements/, for each package; it may have several, with markers."""
    found: dict[str, list[Requirement]] = {}
    for name in ("wheels", "sources"):
        text = (ROOT / f"requirements/{name}.txt").read_text()
        comment, _, text = text.partition("\n")
        assert comment.endswith("made by recipes/dependencies.sh lock.")
        packages = re.findall(rf"^([^ #\n].*?)((?:{HASH})+)\n", text, re.MULTILINE)
        # All is such a line: a version, and at least one hash.
        assert "".join(f"{line}{hashes}\n" for line, hashes in packages) == text
        for line, _ in packages:
            requirement = Requirement(line)
            [version] = requirement.specifier
            assert version.operator == "==" and not requirement.url, line
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def wanted() -> list[Requirement]:
    """What pyproject.toml needs, with the tools to develop."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"]]
    texts += [text for extra in extras.keys() - OTHERS for text in extras[extra]]
    found = [Requirement(text) for text in texts]
    return [requirement for requirement in found if requirement.name != project["name"]]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_locked(python: str, tally: Tally) -> None:
    known = locked()
    torch = Requirement((ROOT / "constraints.txt").read_text().splitlines()[-1])
    assert "torch" not in known
    for platform, machine in MACHINES:
        where = {
            **{"python_version": python, "python_full_version": f"{python}.1", "extra": ""},
            **{"sys_platform": platform, "platform_machine": machine},
            **{"platform_system": platform.title(), "implementation_name": "cpython"},
            **{"platform_python_implementation": "CPython", "os_name": "posix"},
        }
        for requirement in wanted():
            if requirement.marker and not requirement.marker.evaluate(where):
                continue
            choices = [torch] if requirement.name == "torch" else known[requirement.name]
            fits = [one for one in choices if not one.marker or one.marker.evaluate(where)]
            assert len(fits) == 1, f"{requirement} has no version: make lock"
            [version] = fits[0].specifier
            assert requirement.specifier.contains(version.version), f"{requirement}: make lock"
            tally(inputs=1)


def test_other_versions_can_be_installed_by_hand() -> None:
    """Only setup.sh reads requirements/ and constraints.txt: a machine may have its own torch."""
    needs = {requirement.name: requirement.specifier for requirement in wanted()}
    assert needs["torch"].contains("2.8.0") and needs["torch"].contains("2.11.0+cu128")
    exact = [name for name, versions in needs.items() if any(v.operator == "==" for v in versions)]
    assert exact == ["fairseq-fixed"]  # its dataclasses are what the plugin was written for
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for python in PYTHONS:
        assert Requirement(f"x{project['requires-python']}").specifier.contains(f"{python}.0")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that ``dependencies.sh`` reads and writes, and this Python."""
    names = ("requirements", "pyproject.toml", "constraints.txt")
    folder = wheels.repository(tmp_path_factory.mktemp("lock") / "copy", *names)
    python = folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return folder


def run(folder: Path, *command: str, code: int, **settings: object) -> str:
    """What it prints; skips the test where no index of packages has the tool."""
    finished = wheels.recipe(folder, "dependencies.sh", *command, **settings)
    said = finished.stdout + finished.stderr
    if "cannot be installed" in said:
        pytest.skip(f"no index of packages answers here: {said.strip()}")
    assert finished.returncode == code, said
    return said


@pytest.mark.slow
def test_lock_with_nothing_to_change(copy: Path, tally: Tally) -> None:
    names = ("requirements/wheels.txt", "requirements/sources.txt")
    before = [(copy / name).read_bytes() for name in names]
    lines = sum(map(len, locked().values()))
    said = run(copy, "lock", code=0)
    assert sum(map(int, re.findall(r"(\d+) (?:wheels|sources)", said))) == lines
    assert [(copy / name).read_bytes() for name in names] == before
    tally(inputs=lines)


class Vulnerabilities(BaseHTTPRequestHandler):
    """Answers as OSV does, of one package that everybody knows, and of those of ``names``."""

    names: set[str] = set()
    known = True

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        asked = json.loads(self.rfile.read(length))
        name = asked["package"]["name"].lower()
        bad = name in self.names or (self.known and (name, asked["version"]) == ("jinja2", "2.10"))
        found = {"id": "GHSA-made-up", "summary": "", "details": "made up", "aliases": []}
        package = {"package": {"name": name, "ecosystem": "PyPI"}, "ranges": []}
        answer = {"vulns": [found | {"affected": [package]}]} if bad else {}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def service(*names: str, known: bool = True) -> Iterator[dict[str, object]]:
    """The settings with which it is asked."""
    answers = type("Answers", (Vulnerabilities,), {"names": {*names}, "known": known})
    with ThreadingHTTPServer(("127.0.0.1", 0), answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1/query"
        yield {"PIP_AUDIT_VULNERABILITY_SERVICE": "osv", "PIP_AUDIT_OSV_URL": url}
        server.shutdown()


@pytest.mark.slow
def test_audit_with_a_list_that_answers(copy: Path, tally: Tally) -> None:
    with service() as settings:
        assert "No known vulnerabilities found" in run(copy, "audit", code=0, **settings)
    for name in ("pillow", "torch", "docopt"):  # a wheel, that of the constraint, and a source
        with service(name) as settings:
            said = run(copy, "audit", code=1, **settings)
        assert re.search(rf"^{name} .*GHSA-made-up", said, re.MULTILINE)
        tally(faults=1)


@pytest.mark.slow
def test_audit_with_a_list_that_says_nothing(copy: Path, tally: Tally) -> None:
    nothing = "dependencies: the list of vulnerabilities does not answer here: nothing was checked"
    with service(known=False) as settings:
        assert run(copy, "audit", code=2, **settings).strip() == nothing
    assert run(copy, "audit", code=2, **settings).strip() == nothing  # it has ended
    tally(faults=2)
