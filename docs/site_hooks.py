"""Hooks of mkdocs: what README.md and docs/ link to in the repository becomes part of the site.

README.md is its first page. Other files outside of docs/ lie in ``repository/``.
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)\s#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add README.md and all that the pages link to."""
    texts = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    linked = set(texts)
    for text in [*texts, *(ROOT / "docs").glob("*.md")]:
        linked |= {(text.parent / link).resolve() for link in LINK.findall(text.read_text())}
    for path in sorted(linked):
        if path.is_file() and place(path).startswith(("repository/", "index.md")):
            source = {"content": path.read_text()} if path.suffix == ".md" else {}
            where = {} if source else {"abs_src_path": str(path)}
            files.append(File.generated(config, place(path), **source, **where))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Change the links of a page from places in the repository to places in the site."""
    here = page.file.src_uri
    if here == "index.md":
        source = ROOT
    elif here.startswith("repository/"):
        source = (ROOT / here.removeprefix("repository/")).parent
    else:
        source = ROOT / "docs"

    def there(link: re.Match[str]) -> str:
        target = (source / link[1]).resolve()
        if not target.is_file():
            return link[1]  # mkdocs says that it is dead
        return Path(os.path.relpath(place(target), os.path.dirname(here) or ".")).as_posix()

    return LINK.sub(there, markdown)


def place(path: Path) -> str:
    """Where a file of the repository is in the site."""
    name = path.relative_to(ROOT).as_posix()
    if name == "README.md":
        return "index.md"
    return name.removeprefix("docs/") if name.startswith("docs/") else f"repository/{name}"
