"""How far a long work is: one line that all commands show alike."""

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

_AT_A_TERMINAL = 0.2  # seconds between two lines, of which each takes the place of the last one
_IN_A_LOG = 10.0
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


class Progress:
    """Shows how much is done, how fast, and the time that is left where the total is known.

    At a terminal the line changes in place, and goes when the work is done or fails. In a log there
    is a line every ten seconds.

    Args:
        name: what is worked on.
        unit: what is counted, such as ``lines``; ``B`` for bytes.
        total: how many there are, if that is known.
        done: how many were done before.
        seconds: between two lines of a log.
        shown: whether to show anything.
        live: whether a terminal may show it in place; not where results are printed there, too.
        file: where to; standard error by default.
    """

    def __init__(
        self,
        name: str,
        unit: str,
        total: int | None = None,
        *,
        done: int = 0,
        seconds: float = _IN_A_LOG,
        shown: bool = True,
        live: bool = True,
        file: TextIO | None = None,
    ) -> None:
        self._name, self._unit, self._total = name, unit, total
        self._before = self._done = done
        self._file = file or sys.stderr
        self._shown, self._live = shown, shown and live and self._file.isatty()
        self._seconds = _AT_A_TERMINAL if self._live else seconds
        self._began = self._said = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live:
            self._write("\r\033[K")

    @property
    def speed(self) -> float:
        """How many in a second."""
        return (self._done - self._before) / max(time.monotonic() - self._began, 1e-3)

    def add(self, number: int, note: str = "") -> None:
        """So many more are done.

        Args:
            number: of the units.
            note: the end of the line.
        """
        self._done += number
        now = time.monotonic()
        if self._shown and now - self._said >= self._seconds:
            self._said = now
            line = self._line(note)
            if self._live:
                self._write(f"\r{line[: shutil.get_terminal_size().columns - 1]}\033[K")
            else:
                self._write(f"{line}\n")

    def _line(self, note: str) -> str:
        text: Callable[[float], str] = bytes_text if self._unit == "B" else _number
        unit = "" if self._unit == "B" else f" {self._unit}"
        speed = self.speed
        parts = [f"{text(self._done)}{unit}", f"{text(speed)}/s"]
        if self._total:
            parts[0] = f"{self._done / self._total:.0%} of {text(self._total)}{unit}"
            left = self._total - self._done
            parts.append(f"{time_text(left / speed)} left" if speed else "stalled")
        return f"{self._name}: {', '.join([*parts, *filter(None, [note])])}"

    def _write(self, text: str) -> None:
        print(text, end="", file=self._file, flush=True)


def _number(count: float) -> str:
    return f"{count:,.0f}" if count >= 10 or count == int(count) else f"{count:.1f}"


def bytes_text(count: float) -> str:
    """Bytes as people write them: 12.3 MB."""
    unit, name = next((pair for pair in _UNITS if count >= pair[0]), _UNITS[-1])
    return f"{count / unit:.{2 if unit == 1e9 else 1}f} {name}"


def time_text(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03, or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
