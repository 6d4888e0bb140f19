"""The programs that ``nmt-moe train`` starts: what they print goes to a log, and to the screen."""

import os
import re
import shlex
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.own_text.screen import Screen
from nmt_moe.runs import commands

_SPEED = re.compile(r"\d/s\b")
_LAST = 5  # lines that are shown of a program that failed without an error's line


class Programs:
    """Start programs, one after the other.

    Args:
        screen: shows how far they are.
        shown: whether to show each command as it would be typed.
    """

    def __init__(self, screen: Screen, shown: bool = False) -> None:
        self._screen, self._shown = screen, shown

    def run(
        self,
        log: Path,
        *words: object,
        reads: Path | None = None,
        writes: Path | None = None,
        follow: Callable[[Iterable[str]], Iterator[str]] | None = None,
    ) -> None:
        """Run a program to its end.

        Args:
            log: its output is added there.
            words: it and its arguments.
            reads: its standard input.
            writes: its standard output becomes this file, if it succeeds.
            follow: makes lines that stay of its output; without it those about progress are shown.

        Raises:
            UserError: with the error that it printed.
            Failed: it was stopped.
        """
        typed = [str(word) for word in words]
        if self._shown:
            into = [f"< {shlex.quote(str(reads))}"] if reads else []
            into += [f"> {shlex.quote(str(writes))}"] if writes else []
            self._screen.say(" ".join(["+", shlex.join(typed), *into]))
        last: deque[str] = deque(maxlen=_LAST)

        def noted(lines: Iterable[str]) -> Iterator[str]:
            for line in lines:
                last.append(line)
                yield line

        follow = follow or self._as_progress
        options = commands.apart()
        with (
            log.open("ab") as output,
            (reads or Path(os.devnull)).open("rb") as options["stdin"],
            atomic_write([writes] if writes else [], "wb") as written,
        ):
            stdout = written[0] if written else None
            try:
                for line in follow(noted(commands.lines(typed, output, stdout, **options))):
                    self._screen.say(line)
            except commands.Failed as error:
                if error.code == commands.STOPPED or error.code > 128:
                    raise
                name = " ".join(word for word in typed[:3] if not word.startswith(("/", "-")))
                what = f"{name} failed, {log} has all that it printed"
                raise failure(what, last) from None

    def _as_progress(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            if _SPEED.search(line):
                self._screen.progress(line.strip())
        yield from ()


def failure(what: str, last: Iterable[str]) -> UserError:
    """The error in the last lines that a program printed; else what failed, with these lines."""
    lines = [*last]
    shown = " / ".join(line.strip() for line in lines)
    return UserError(commands.error_of(lines) or f"{what}; at the end: {shown}")
