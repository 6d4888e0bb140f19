"""Commands as dataclasses: the docstring is the description, each field an argument.

The annotation says what an argument is: a number (with its range), a path, text, a list of these,
or a switch. Parsing gives an instance, whose fields :meth:`Command.run` reads.
"""

import argparse
from dataclasses import Field, dataclass, field, fields
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


def positional(
    help: str, metavar: str | None = None, allowed: Range | None = None, **how: Any
) -> Any:
    """An argument without a name; one with ``nargs="?"`` is None where it is not given.

    Args:
        help: what it is.
        metavar: its name in the help; None: its choices.
        allowed: the range of a number.
        how: what else ``add_argument`` takes.
    """
    how = {"metavar": metavar} | how
    metadata = {"help": help, "range": allowed, "how": how, "positional": True}
    return field(default=None, metadata=metadata)


def option(
    default: Any, help: str, allowed: Range | None = None, metavar: Any = None, **how: Any
) -> Any:
    """An argument with a name, which need not be given; the help ends with its default."""
    shown = f"{default:g}" if isinstance(default, float) else default
    shown = " ".join(default) if isinstance(default, list) else shown
    if shown not in (None, False, "") and "(default" not in help:
        help = f"{help} (default: {shown})"
    how |= {"default": default} | ({} if metavar is None else {"metavar": metavar})
    kept = {"default_factory": default.copy} if isinstance(default, list) else {"default": default}
    return field(**kept, metadata={"help": help, "range": allowed, "how": how})


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
        name, how = _argument(one)
        group, place = how.pop("one_of", None), made
        if group is not None:
            needed = how.pop("required", False)
            if group not in groups:
                groups[group] = made.add_mutually_exclusive_group(required=needed)
            place = groups[group]
        place.add_argument(name, **how)
    return made


def _argument(one: Field[Any]) -> tuple[str, dict[str, Any]]:
    """The name, and what else ``add_argument`` takes, of the argument that a field is."""
    kind: Any = one.type
    how = {"help": one.metadata["help"], **one.metadata["how"]}
    if isinstance(kind, UnionType):
        kind = get_args(kind)[0]  # the other is None
    if get_origin(kind) is list:
        kind = get_args(kind)[0]
        if "action" not in how:
            how.setdefault("nargs", "+")
    if kind is bool:
        how["action"] = "store_true"
    elif "choices" not in how:
        how.setdefault("metavar", _METAVARS.get(kind))
    if kind not in (bool, str):
        how["type"] = one.metadata.get("range") or kind
    if "positional" in one.metadata:
        return one.name, how
    return how.pop("name", name_of(one.name)), how | {"dest": one.name}


class _Paragraphs(argparse.HelpFormatter):
    """Fills each paragraph of a description by itself."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n\n".join(fill(part, width, indent) for part in text.split("\n\n"))
