"""Find figures in README.md and docs/ that no file has.

What is generated comes from files; code, links and options are not figures. Of what is left, these
count: fractions, percentages, exponents, and numbers of a unit or of things that are counted (such
as 12 updates). Each has to be within a text of ``docs/figures.toml``, which names the file that it
is from and what that holds of it; both are looked up. Where no file can have it, it says why: a
rule, an example. docs/results.md may have no digits at all but in names. A whole number without a
unit, or a number in words, is not found: read those yourself.

    python docs/figures.py
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WITHOUT = ROOT / "docs" / "results.md"
"""All of this page's figures are generated."""

_GENERATED = re.compile(r"^<!-- generated: .*?^<!-- end -->$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_QUOTED = re.compile(r"`[^`]*`")
_TARGET = re.compile(r"\]\([^)]*\)")
_NAMES = re.compile(
    r"\b(?:Multi30k|WMT'?14|SHA-256|UTF-8|AVX2|AVX-512"
    r"|b?float(?:16|32|64)|int8)\b|\b[Ss]ections? \d[\d.]*(?: (?:and|to) \d[\d.]*)?"
)
_NUMBER = r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?"
_UNITS = (
    r"%|[KMGT]i?B\b|bytes?\b|bits?\b|ms\b|milliseconds?\b|seconds?\b|minutes?\b|hours?\b|times\b"
    r"|BLEU\b|words?\b|tokens?\b|(?:word)?pieces?\b|pairs?\b|sentences?\b|lines?\b|updates?\b"
    r"|experts?\b|characters?\b|passes\b|epochs?\b|requests?\b|points?\b"
)
FIGURE = re.compile(
    rf"{_NUMBER}(?: to | and | or |-){_NUMBER} ?(?:{_UNITS})|{_NUMBER} ?(?:{_UNITS})"
    r"|\b\d+(?:\.\d+)+\b|\b\d+e-?\d+\b"
)
Source = dict[str, str]


def prose(text: str) -> str:
    """A page without what is generated, code, links and names; in one line."""
    for pattern in (_GENERATED, _CODE):
        text = pattern.sub("", text)
    text = _TARGET.sub("]", _QUOTED.sub("`code`", text))
    return " ".join(text.split())


def unknown(page: str, text: str, known: list[Source]) -> Iterator[str]:
    """The figures of a page, each with the words around it, that no source has."""
    text = prose(text)
    spans = [
        found.span()
        for source in known
        if source["page"] == page
        for found in re.finditer(re.escape(source["text"]), text)
    ]
    names = [found.span() for found in _NAMES.finditer(text)]
    pattern = re.compile(r"\d+") if page == WITHOUT.relative_to(ROOT).as_posix() else FIGURE
    for found in pattern.finditer(text):
        inside = any(start <= found.start() and found.end() <= end for start, end in spans + names)
        if not inside:
            around = text[max(0, found.start() - 40) : found.end() + 30]
            yield f"{page}: '{found[0]}' in '...{around}...' is from no file"


def wrong(known: list[Source], pages: dict[str, str]) -> Iterator[str]:
    """Sources that no page needs any more, or that do not have what they should."""
    for source in known:
        if source["text"] not in prose(pages.get(source["page"], "")):
            yield f"{source['page']} has no '{source['text']}' any more"
        if source.get("why"):
            continue
        path = ROOT / source["source"]
        if not path.is_file() or source["has"] not in path.read_text("utf-8"):
            yield f"{source['page']}, '{source['text']}': {source['source']} has no {source['has']}"


def main() -> int:
    """Print what is wrong; 1 if there is something."""
    known = tomllib.loads((ROOT / "docs" / "figures.toml").read_text("utf-8"))["figure"]
    pages = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in DOCUMENTS}
    errors = [error for page, text in pages.items() for error in unknown(page, text, known)]
    errors += wrong(known, pages)
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    if errors:
        print(
            "error: take it from a file (docs/generate.py), name its file in docs/figures.toml, "
            "or leave it out",
            file=sys.stderr,
        )
    else:
        print(f"{len(pages)} pages: all figures that were found have a file")
    return int(bool(errors))


if __name__ == "__main__":
    sys.exit(main())
