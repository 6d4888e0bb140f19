"""Commands as dataclasses: the docstring is the description, each field an argument.

The annotation says what an argument is: a number (with its range), a path, text, a list of these,
or a switch. Parsing gives an instance, whose fields :meth:`Command.run` reads.
"""

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, get_args, get_origin

from nmt_moe.common.errors import UserError, suggestion
from nmt_moe.common.ranges import Range, name_of

_METAVARS = {int: "N", float: "X", Path: "FILE"}


@dataclass(kw_only=True)
class Command:
    """A command and what it was given."""

    usage: ClassVar[str | None] = None
    """In place of the line that argparse makes."""

    def run(self) -> int | None:
        """Do the work; an exit code, if it is not 0."""
        raise NotImplementedError

    def in_own_process(self) -> None:
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
    made = _Parser(
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


class _Parser(argparse.ArgumentParser):
    """Explains errors: a number outside its range in one line, a misspelt name by similar ones.

    Raises:
        UserError: for a number outside its :class:`Range`, instead of exiting with the usage.
    """

    def parse_known_args(  # type: ignore[override]  # it has overloads
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        self._given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> Any:
        name, colon, what = message.removeprefix("argument ").partition(": must be ")
        if colon:
            raise UserError(f"{name} must be {what}")
        if " required" in message or message.startswith("unrecognized arguments: "):
            message = self._misspelt() or message
        super().error(message)

    def _misspelt(self) -> str | None:
        """The message for the first option that does not exist; None: all do."""
        known = self._option_string_actions
        end = self._given.index("--") if "--" in self._given else len(self._given)
        for name in (word.partition("=")[0] for word in self._given[:end]):
            is_option = name[:1] == "-" and name[1:].strip("-0123456789.")
            if is_option and not any(option.startswith(name) for option in known):
                close = _similar(name, known)
                hint = f": did you mean {' or '.join(close)}?" if close else ""
                return f"there is no option {name}{hint}"
        return None

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            hint = suggestion(str(value), [str(choice) for choice in action.choices])
            raise argparse.ArgumentError(action, f"there is no {value!r}: {hint}")


def _similar(name: str, known: Iterable[str]) -> list[str]:
    """The options that are spelled like ``name``, or have a word that begins as it does."""
    words = {option: option.strip("-") for option in known if option not in ("-h", "--help")}
    name = name.strip("-").replace("_", "-")
    close = difflib.get_close_matches(name, words.values())
    first = name.partition("-")[0]
    also = [w for w in words.values() if len(first) > 2 and f"-{first}" in f"-{w}"]
    return [option for option, word in words.items() if word in (close or also)]


class _Paragraphs(argparse.HelpFormatter):
    """Fills each paragraph of a description by itself."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n\n".join(fill(part, width, indent) for part in text.split("\n\n"))
