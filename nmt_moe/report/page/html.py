"""The HTML file, with its style, scripts, data and plotly.js inlined."""

import json
import re
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from nmt_moe.common import logged
from nmt_moe.common.files import atomic_write
from nmt_moe.report.page.names import distinct
from nmt_moe.report.page.pack import finite, pack

# The scripts are ES modules. A page that is opened from a disk may not import files, so that each
# becomes a function that is called once; only these forms are understood.
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const (\w+) = )", re.MULTILINE)


def write_report(contents: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the report of one checkpoint, or of two side by side.

    Args:
        contents: one or two of what ``nmt-moe report --json`` prints.
        path: the file to write; an old one is replaced when the new one is complete.

    Raises:
        OSError: the file cannot be written.
    """
    names = distinct([content["checkpoint"] for content in contents])
    data = {"kind": "report", "names": names} | pack(contents)
    kind = "Translations and experts" if "translations" in contents[0] else "Experts"
    _write(f"{kind}: {' and '.join(names)}", data, path)


def write_curves(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the training curves of some runs into common charts.

    Args:
        runs: from :func:`nmt_moe.report.curves.read_runs`.
        path: as for :func:`write_report`.

    Raises:
        OSError: the file cannot be written.
    """
    names = distinct([run["name"] for run in runs])
    titles = {"titles": logged.titles(), "layerTitles": logged.LAYER_TITLES}
    data = {"kind": "curves", "names": names, "runs": list(runs)} | titles
    _write(f"Training: {', '.join(names)}", data, path)


def _write(title: str, data: dict[str, Any], path: Path) -> None:
    page = Template(_asset("page.html")).substitute(
        title=escape(title),
        style=_asset("page.css"),
        data=_json(data),
        plotly=get_plotlyjs(),
        script=linked("start"),
    )
    with atomic_write([path]) as [file]:
        file.write(page)


def linked(entry: str) -> str:
    """Link a module and its imports into one script, each after those it imports.

    Raises:
        ValueError: modules import each other in a circle.
    """
    done: dict[str, str] = {}

    def add(name: str, importers: tuple[str, ...]) -> None:
        if name in importers:
            raise ValueError(f"{' imports '.join([*importers, name])}")
        if name in done:
            return
        text = _asset(f"{name}.js")
        for _, other in _IMPORT.findall(text):
            add(other, (*importers, name))
        exported = ", ".join(_EXPORT.findall(text))
        body = _EXPORT.sub("", _IMPORT.sub(r"const \1 = modules.\2;\n", text))
        done[name] = f"modules.{name} = (() => {{\n{body}return {{ {exported} }};\n}})();\n"

    add(entry, ())
    return f'(() => {{\n"use strict";\nconst modules = {{}};\n{"".join(done.values())}}})();'


def _json(data: dict[str, Any]) -> str:
    """JSON that may stand in a script element: no text in it ends the element."""
    text = json.dumps(finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")
