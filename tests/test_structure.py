"""The house: light at the front door, no circles, and each room says what belongs in it."""

import ast
import subprocess
import sys
from pathlib import Path

import networkx
import pytest

from tests.recipes import ROOT

PACKAGE = ROOT / "nmt_moe"

LOADED = "import sys; print(*sorted({'torch', 'numpy', 'fairseq'} & sys.modules.keys()))"


def output(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/"
    ).stdout


@pytest.mark.parametrize(
    ("program", "loaded"),
    [
        ("import nmt_moe", ""),
        ("import nmt_moe.common.files, nmt_moe.common.errors, nmt_moe.common.ranges", ""),
        ("from nmt_moe import MixtureOfExperts", "numpy torch"),
        pytest.param(
            "from nmt_moe import LSTMMoEModel", "fairseq numpy torch", marks=pytest.mark.slow
        ),
    ],
)
def test_what_an_import_loads(program: str, loaded: str) -> None:
    assert output(f"{program}; {LOADED}") == f"{loaded}\n"


def test_the_layer_leaves_the_root_logger_alone() -> None:
    program = (
        "from nmt_moe.moe import MixtureOfExperts; import logging; print(logging.root.handlers)"
    )
    assert output(program) == "[]\n"


@pytest.mark.slow
def test_the_plugin_is_reached_where_the_package_was_imported_before() -> None:
    program = f"""
import sys
from argparse import Namespace
from nmt_moe.moe import MixtureOfExperts
from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.utils import import_user_module
import_user_module(Namespace(user_dir={str(PACKAGE)!r}))
print("lstm_moe" in ARCH_MODEL_REGISTRY)
"""
    assert output(program) == "True\n"


def test_no_file_imports_itself_by_way_of_others() -> None:
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }
    imports = networkx.DiGraph(
        (name, other) for name, path in files.items() for other in imported(path) & files.keys()
    )
    circles = [sorted(some) for some in networkx.strongly_connected_components(imports)]
    assert not [some for some in circles if len(some) > 1]


def imported(path: Path) -> set[str]:
    """What a file imports, within functions too: modules, or names in them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            folder = ROOT.joinpath(*str(node.module).split("."))
            inside = {
                name
                for name in names
                if (folder / name).is_dir() or (folder / f"{name}.py").exists()
            }
            found |= {f"{node.module}.{name}" for name in inside}
            found |= {str(node.module)} if names - inside else set()
    return found


def test_each_room_says_what_belongs_in_it() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
