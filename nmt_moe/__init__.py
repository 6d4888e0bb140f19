"""nmt_moe: sparsely-gated mixtures of experts for machine translation, a fairseq plugin.

This package alone imports neither torch nor fairseq, so that each command answers at once. What it
registers with fairseq is in :mod:`nmt_moe.plugin`.
"""

import os
import sys

# python -m looks in the current folder first: a user's own tokenize.py, or a folder fairseq, there
# would be taken for the module of that name. Of the commands of this package alone.
if (
    sys.argv[:1] == ["-m"]
    and not sys.flags.safe_path
    and sys.orig_argv[-len(sys.argv)].removeprefix("-m").partition(".")[0] == __name__
):
    del sys.path[0]

if __name__ != "nmt_moe":  # a link or a copy: its models would be registered twice
    sys.exit(
        f"error: --user-dir must name a folder that is called nmt_moe, not {__name__}: "
        f"{os.path.dirname(os.path.realpath(__file__))} is where this one is"
    )

import importlib
import importlib.util
from typing import Any

from nmt_moe.fairseq_fixes import warnings

__version__ = "0.2.0"

_LAZY = {
    "MixtureOfExperts": "moe",
    "Routing": "moe",
    "cv_squared": "moe",
    "load": "trained",
    "Translator": "trained",
    "LSTMMoEModel": "models.translation",
    "LSTMMoELanguageModel": "models.language_model",
}

warnings.silence()  # before any room imports fairseq


def _check_program(name: str) -> None:
    """Refuse ``python -m`` of a module that is no command: it would do nothing, and end with 0."""
    found = importlib.util.find_spec(name) if name.startswith(f"{__name__}.") else None
    if found is None or not found.origin or found.submodule_search_locations is not None:
        return
    with open(found.origin, "rb") as file:
        source = file.read()
    if b'door(__name__, "' not in source and b'__name__ == "__main__"' not in source:
        sys.exit(f"error: {name} is no command: 'nmt-moe --help' lists the commands")


class _Folders(list):
    """fairseq asks here whether ``--user-dir`` names this package, if it is imported already, and
    would then not look for what it registers."""

    def __contains__(self, folder: object) -> bool:
        named = super().__contains__(folder)
        if named:
            importlib.import_module("nmt_moe.plugin")
        return named


__path__ = _Folders(__path__)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"nmt_moe.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if sys.argv[:1] == ["-m"]:  # python -m imports this package first
    _check_program(sys.orig_argv[-len(sys.argv)].removeprefix("-m"))
