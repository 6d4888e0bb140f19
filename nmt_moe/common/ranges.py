"""Ranges of numeric options, declared where the option is defined."""

import argparse
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from nmt_moe.common.errors import UserError

MOST = 2**31 - 1
"""The largest integer of an option that names no other bound."""


@dataclass(frozen=True)
class Range:
    """All integers (``kind`` int) or finite numbers (``kind`` float) between two bounds.

    A range can be the ``type`` of an argument of argparse.
    """

    kind: type[int] | type[float]
    low: float
    high: float
    exclusive_low: bool = False
    """Whether ``low`` itself is excluded."""
    exclusive_high: bool = False
    """Whether ``high`` itself is excluded."""

    def __contains__(self, value: Any) -> bool:
        if isinstance(value, float) and (not math.isfinite(value) or self.kind is int):
            return False
        over = value > self.low if self.exclusive_low else value >= self.low
        return over and (value < self.high if self.exclusive_high else value <= self.high)

    def __str__(self) -> str:
        low = f"{'above' if self.exclusive_low else 'at least'} {self.low:.15g}"
        if self.high in (math.inf, MOST):
            return low
        return f"{low} and {'less than' if self.exclusive_high else 'at most'} {self.high:.15g}"

    def refusal(self, value: Any) -> str:
        """The message for a value outside the range, such as ``must be at least 1, not 0``."""
        what = f"{self}"
        kind: Any = Integral if self.kind is int else Real
        if not isinstance(value, kind):
            what = f"a {'whole ' if self.kind is int else ''}number, {what}"
        elif value == math.inf:
            what = f"finite and {what}"
        elif value > MOST == self.high:
            what += f" and at most {MOST}"
        return f"must be {what}, not {value!r}"

    def check(self, name: str, value: object) -> None:
        """Raise a :class:`UserError` for a value outside the range, which ``name`` has."""
        if not isinstance(value, Real) or value not in self:
            raise UserError(f"{name} {self.refusal(value)}")

    def __call__(self, text: str) -> float:
        """Read a number from text, for argparse."""
        try:
            value = self.kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(self.refusal(text)) from None
        if value not in self:
            raise argparse.ArgumentTypeError(self.refusal(value))
        return value


def integers(low: int, high: int = MOST) -> Range:
    """The integers from ``low`` to ``high``, both included."""
    return Range(int, low, high)


def numbers(
    low: float, high: float = math.inf, *, exclusive_low: bool = False, exclusive_high: bool = False
) -> Range:
    """The numbers from ``low`` to ``high``; either bound can be excluded."""
    return Range(float, low, high, exclusive_low, exclusive_high)


def option(default: Any, allowed: Range, help: str | None = None) -> Any:
    """A field of a dataclass, a number or a list of them, that :func:`check` looks at."""
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
        if value is None and one.default is None:
            continue
        numbers = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
        for number in numbers:
            one.metadata["range"].check(name_of(one.name), number)


def name_of(name: str) -> str:
    """The command-line option of a field: ``--moe-k`` for ``moe_k``."""
    return "--" + name.replace("_", "-")
