"""Commands as dataclasses: the docstring is the description, each field an argument.

The annotation says what an argument is: a number (with its range), a path, text, a list of these,
or a switch. Parsing gives an instance, whose fields :meth:`Command.run` reads.
"""

import argparse
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, get_args, get_origin

from nmt_moe.common.ranges import Parser, Range, name_of

_METAVARS = {int: "N", float: "X", Path: "FILE"}


@dataclass(kw_only=True)
class Command:
    """A command and what it was given."""

    usage: ClassVar[str | None] = None
    """In place of the line that argparse makes."""

    def run(self) -> int | None:
        """Do the work; an exit code, if it is not 0."""
        raise NotImplementedError

    @classmethod
    def in_own_process(cls) -> None:
        """Called first where the process runs this command alone: what it changes for all."""


def positional(help: str, metavar: str | None = None, **how: Any) -> Any:
    """An argument without a name; one with ``nargs="?"`` is None where it is not given.

    Args:
        help: what it is.
        metavar: its name in the help; that of the field if None.
        how: what else ``add_argument`` takes.
    """
    kept: dict[str, Any] = {"default": None} if how.get("nargs") == "?" else {}
    metadata = {"help": help, "how": {"metavar": metavar} | how, "positional": True}
    return field(**kept, metadata=metadata)


def option(
    default: Any, help: str, allowed: Range | None = None, metavar: Any = None, **how: Any
) -> Any:
    """An argument with a name, which need not be given; the help ends with its default."""
    shown = f"{default:g}" if isinstance(default, float) else default
    shown = " ".join(default) if isinstance(default, list) else shown
    if shown not in (None, False, "") and "(default" not in help:
        help = f"{help} (default: {shown})"
    kept = {"default_factory": default.copy} if isinstance(default, list) else {"default": default}
    metadata = {"help": help, "range": allowed, "how": {"metavar": metavar} | how}
    return field(**kept, metadata=metadata)


def required(help: str, allowed: Range | None = None, **how: Any) -> Any:
    """An argument with a name that must be given; of several ``one_of`` the same, one of them."""
    return option(None, help, allowed, required=True, **how)


def switch(help: str, **how: Any) -> Any:
    """An argument that is given or not."""
    return option(False, help, **how)


def parser(command: type[Command], program: str) -> argparse.ArgumentParser:
    """The parser of a command; arguments ``one_of`` the same exclude each other."""
    made = Parser(
        prog=program, usage=command.usage, description=command.__doc__, formatter_class=_Paragraphs
    )
    groups: dict[str, Any] = {}
    for one in fields(command):
        how = dict(one.metadata["how"]) | {"help": one.metadata["help"]}
        group, needed = how.pop("one_of", None), how.get("required", False)
        if group is not None:
            how["required"] = False
            groups[group] = groups.get(group) or made.add_mutually_exclusive_group(required=needed)
        place = made if group is None else groups[group]
        place.add_argument(*_names(one, how), **_reading(one, how))
    return made


def _names(one: Any, how: dict[str, Any]) -> list[str]:
    """The field's name as an option, or as a positional argument; and under which it is kept."""
    if "positional" in one.metadata:
        return [one.name]
    name = how.pop("name", None)
    if name is None:
        return [name_of(one.name)]
    how["dest"] = one.name
    return [name]


def _reading(one: Any, how: dict[str, Any]) -> dict[str, Any]:
    """How argparse reads an argument of a field's type."""
    kind = one.type
    if isinstance(kind, UnionType):
        kind = get_args(kind)[0]  # the other is None
    if kind is bool:
        del how["metavar"]
        return how | {"action": "store_true"}
    if get_origin(kind) is list:
        kind = get_args(kind)[0]
        if "action" not in how:
            how.setdefault("nargs", "+")
    how["metavar"] = how["metavar"] or ("choices" not in how and _METAVARS.get(kind)) or None
    if kind is not str:
        how["type"] = one.metadata.get("range") or kind
    if one.default_factory is not MISSING:
        how["default"] = one.default_factory()
    elif one.default is not MISSING:
        how["default"] = one.default
    return how


class _Paragraphs(argparse.HelpFormatter):
    """Fills each paragraph of a description by itself."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n\n".join(fill(part, width, indent) for part in text.split("\n\n"))
