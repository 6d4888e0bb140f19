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
from typing import Any

from nmt_moe.fairseq_fixes import warnings

__version__ = "0.2.0"

_LAZY = {"MixtureOfExperts": "moe", "Routing": "moe", "cv_squared": "moe", "load": "trained"}

warnings.silence()  # before any room imports fairseq


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
