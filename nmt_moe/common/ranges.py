"""The range of a number that users give, declared where its option is defined."""

import argparse
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from nmt_moe.common.errors import UserError

MOST = 2**31 - 1
"""The largest whole number of an option that names no other."""


@dataclass(frozen=True)
class Range:
    """The whole numbers (``kind`` int) or finite numbers (float) between two bounds.

    As the ``type`` of an argument it also reads them.
    """

    kind: type[int] | type[float]
    low: float
    high: float
    exclusive_low: bool = False
    """Whether ``low`` is not in it."""
    exclusive_high: bool = False
    """Whether ``high`` is not in it."""

    def __contains__(self, value: float) -> bool:
        if isinstance(value, float) and (not math.isfinite(value) or self.kind is int):
            return False
        over = value > self.low if self.exclusive_low else value >= self.low
        return over and (value < self.high if self.exclusive_high else value <= self.high)

    def __str__(self) -> str:
        low = f"{'above' if self.exclusive_low else 'at least'} {self.low:.15g}"
        if self.high in (math.inf, MOST):
            return low
        return f"{low} and {'less than' if self.exclusive_high else 'at most'} {self.high:.15g}"

    def refusal(self, value: object) -> str:
        """What a value that is none of these must be."""
        what = f"{self}"
        if not isinstance(value, int | float):
            what = f"a {'whole ' if self.kind is int else ''}number, {what}"
        elif value == math.inf:
            what = f"finite and {what}"
        elif value > MOST == self.high:
            what += f" and at most {MOST}"
        return f"must be {what}, not {value!r}"

    def __call__(self, text: str) -> float:
        """The number that a text is, for argparse."""
        try:
            value = self.kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(self.refusal(text)) from None
        if value not in self:
            raise argparse.ArgumentTypeError(self.refusal(value))
        return value


def integers(low: int, high: int = MOST) -> Range:
    """The whole numbers from ``low`` to ``high``."""
    return Range(int, low, high)


def numbers(
    low: float, high: float = math.inf, *, exclusive_low: bool = False, exclusive_high: bool = False
) -> Range:
    """The numbers from ``low`` to ``high``, either of which may be left out."""
    return Range(float, low, high, exclusive_low, exclusive_high)


def option(default: Any, allowed: Range, help: str | None = None) -> Any:
    """A field of a config whose numbers, one or a list of them, :func:`check` looks at."""
    metadata: dict[str, Any] = {"range": allowed}
    if help is not None:
        metadata["help"] = help if help == argparse.SUPPRESS else f"{help} ({allowed})"
    return field(default=default, metadata=metadata)


def check(config: Any, values: Any = None) -> None:
    """Raise a :class:`UserError` for the first option outside its range.

    Args:
        config: the dataclass, or an instance of it.
        values: what has the values; None: the instance.
    """
    for one in fields(config):
        if "range" not in one.metadata:
            continue
        value = getattr(config if values is None else values, one.name)
        numbers = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
        for number in numbers:
            if not isinstance(number, int | float) or number not in one.metadata["range"]:
                raise UserError(f"{name_of(one.name)} {one.metadata['range'].refusal(number)}")


def name_of(name: str) -> str:
    """The option of a field."""
    return "--" + name.replace("_", "-")


class Parser(argparse.ArgumentParser):
    """Says of a number outside its :class:`Range` in one line what it must be.

    Raises:
        UserError: when it parses such a number.
    """

    def error(self, message: str) -> Any:
        name, colon, what = message.removeprefix("argument ").partition(": must be ")
        if colon:
            raise UserError(f"{name} must be {what}")
        super().error(message)
