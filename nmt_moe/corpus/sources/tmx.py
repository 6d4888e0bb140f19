"""TMX, the form of translation memories, read unit by unit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree

from nmt_moe.common.errors import UserError
from nmt_moe.common.lines import READING, open_bytes, unreadable
from nmt_moe.corpus.sources.names import choose
from nmt_moe.corpus.sources.pair import Pair, spaced

_CODES = {"bpt", "ept", "it", "ph", "ut"}  # elements that hold the markup of another format
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_SHOWN = 10  # languages


def pairs(path: Path, source: str, target: str) -> Iterator[Pair]:
    """The pairs of the units that have both languages, each in the closest region.

    Nothing outside of the file is read, and entities of its own are refused.

    Raises:
        UserError: no XML, or no unit has both languages; names the line.
    """
    languages: dict[str, None] = {}
    found = 0
    for unit in units(path):
        variants = {_language(variant): variant for variant in _children(unit, "tuv")}
        left, right = choose((*variants,), source), choose((*variants,), target)
        if len(languages) <= _SHOWN:
            languages |= dict.fromkeys(variants)
        if left is not None and right is not None and left != right:
            found += 1
            yield Pair(_text(variants[left]), _text(variants[right]), unit.sourceline)
    if languages and not found:
        shown = ", ".join([*languages][:_SHOWN])
        raise UserError(f"{path}: no unit has both {source} and {target}; there are {shown}")


def units(path: Path) -> Iterator[Any]:
    """The elements ``tu``, each removed from memory before the next."""
    try:
        with open_bytes(path) as file:
            parsed = etree.iterparse(
                file,
                tag="{*}tu",
                resolve_entities=False,
                load_dtd=False,
                no_network=True,
                huge_tree=False,
                remove_comments=True,
                remove_pis=True,
            )
            checked = False
            for _, unit in parsed:
                checked = checked or _check(path, unit.getroottree())
                yield unit
                unit.clear()
                while unit.getprevious() is not None:
                    del unit.getparent()[0]
            if not checked:
                _check(path, parsed.root.getroottree())
    except etree.XMLSyntaxError as error:
        if not error.lineno:  # an empty file
            return
        raise UserError(f"{path}, line {error.lineno}: not valid XML: {error.msg}") from None
    except READING as error:
        raise unreadable(path, error) from None


def _check(path: Path, document: Any) -> bool:
    doctype, root = document.docinfo.internalDTD, document.getroot()
    if doctype is not None and any(True for _ in doctype.iterentities()):
        raise UserError(f"{path}: it defines entities, which no TMX needs: remove its DOCTYPE")
    if _name(root) != "tmx":
        raise UserError(f"{path}, line {root.sourceline}: no TMX, but <{_name(root)}>")
    return True


def _children(element: Any, name: str) -> list[Any]:
    return [child for child in element if _name(child) == name]


def _name(element: Any) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _language(variant: Any) -> str:
    return variant.get(_LANGUAGE) or variant.get("lang") or ""


def _text(variant: Any) -> str:
    """The text of the segment, without what its markup holds."""
    text = "".join(part for segment in _children(variant, "seg") for part in _parts(segment))
    return spaced(text)


def _parts(element: Any) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        if _name(child) and _name(child) not in _CODES:
            yield from _parts(child)
        yield child.tail or ""
