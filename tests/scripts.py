"""Programs of the repository that are in no package, as modules."""

import importlib.util
from functools import cache
from types import ModuleType

from tests.recipes import ROOT


@cache
def script(path: str) -> ModuleType:
    """The one of that path in the repository, such as ``docs/generate.py``."""
    spec = importlib.util.spec_from_file_location(path.rpartition("/")[2][:-3], ROOT / path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
