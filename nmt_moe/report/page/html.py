"""The HTML file, with its style, scripts, data and plotly.js inlined."""

import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from nmt_moe.common import logged
from nmt_moe.common.files import atomic_write
from nmt_moe.common.scripting import linked
from nmt_moe.report.page.names import distinct
from nmt_moe.report.page.pack import finite, pack


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
        script=linked("start", _asset),
    )
    with atomic_write([path]) as [file]:
        file.write(page)


def _json(data: dict[str, Any]) -> str:
    """JSON that may stand in a script element: no text in it ends the element."""
    text = json.dumps(finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")
