"""The code in C is compiled where there is a compiler, and nothing needs it."""

import os
from types import ModuleType

import pytest


def skip_unless_compiled(kernel: ModuleType) -> None:
    """Skip a file of tests of the package ``kernel``; where CI runs, it has to be there."""
    if kernel._library is None and "CI" not in os.environ:
        pytest.skip("was not compiled here", allow_module_level=True)
