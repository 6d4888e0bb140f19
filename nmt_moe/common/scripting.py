"""The modules of a page's scripts, as the one script that stands in it."""

import re
from collections.abc import Callable

# The scripts are ES modules. A page that is opened from a disk may not import files, so that each
# becomes a function that is called once; only these forms are understood.
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const (\w+) = )", re.MULTILINE)


def linked(entry: str, read: Callable[[str], str]) -> str:
    """Link a module and its imports into one script, each after those it imports.

    Args:
        entry: the name of the module, without its ending.
        read: gives the text of a file.

    Raises:
        ValueError: modules import each other in a circle.
    """
    done: dict[str, str] = {}

    def add(name: str, importers: tuple[str, ...]) -> None:
        if name in importers:
            raise ValueError(f"{' imports '.join([*importers, name])}")
        if name in done:
            return
        text = read(f"{name}.js")
        for _, other in _IMPORT.findall(text):
            add(other, (*importers, name))
        exported = ", ".join(_EXPORT.findall(text))
        body = _EXPORT.sub("", _IMPORT.sub(r"const \1 = modules.\2;\n", text))
        done[name] = f"modules.{name} = (() => {{\n{body}return {{ {exported} }};\n}})();\n"

    add(entry, ())
    return f'(() => {{\n"use strict";\nconst modules = {{}};\n{"".join(done.values())}}})();'
