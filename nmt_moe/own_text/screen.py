"""The one screen of ``nmt-moe train``: stage, progress, time left, and how well the model does.

At a terminal the last line changes in place. Elsewhere there is a line each half minute, and one
for each stage and validation.
"""

import math
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from nmt_moe.common import logged
from nmt_moe.common.progress import time_text
from nmt_moe.runs.progress import told
from nmt_moe.runs.training_log import record

_AT_A_TERMINAL, _IN_A_LOG = 0.2, 30.0  # seconds between two lines of progress
_PREFIX = re.compile(r"^\S+ \S+ \| (?:(?:INFO|ERROR) \| \S+ \| |(?=WARNING))")
_WARNING = re.compile(r"^WARNING \| \S+ \| ")
_PARAMETERS = re.compile(r"^num\. shared model params: ([\d,]+) .*")
_QUIET = re.compile(r"\| WARNING \| (?!nmt_moe)")
"""Warnings of fairseq's and other libraries, which are for the log."""
_VALID_LOSS = logged.of_split("valid", logged.LOSS)
_OF_LAST_STAGES = 60.0  # seconds, until they are measured


class Screen:
    """What a user sees.

    Args:
        stages: the names of all stages, in their order.
        file: where to; standard output by default.
    """

    def __init__(self, stages: Sequence[str], file: TextIO | None = None) -> None:
        self._stages, self._file = stages, file or sys.stdout
        self._live = self._file.isatty()
        self._said = 0.0
        self._shown = False
        self.after_training = _OF_LAST_STAGES
        """Seconds that averaging, translating and scoring are expected to take."""

    def say(self, line: str) -> None:
        """A line that stays."""
        self._clear()
        print(line, file=self._file, flush=True)

    def done(self, name: str) -> None:
        """A stage was done before."""
        self.say(f"{self._title(name)}: done before")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage that is being done now."""
        start = time.monotonic()
        self.say(self._title(name))
        try:
            yield
        finally:
            self._clear()
        seconds = time.monotonic() - start
        if seconds >= 1:
            self.say(f"{self._title(name)}: done in {time_text(seconds)}")

    def training(self, lines: Iterable[str], updates: int) -> Iterator[str]:
        """Show a training by the lines that it prints; yields those lines that shall stay.

        Args:
            lines: the output of ``fairseq-train --log-format json``.
            updates: at how many it ends at the latest.
        """
        done, speed, so_far = 0.0, 0.0, ""
        best = math.inf
        for line in told(line for line in lines if not _QUIET.search(line)):
            figures = record(line)
            if figures is None:
                line = _WARNING.sub("warning: ", _PREFIX.sub("", line))
                yield "  " + _PARAMETERS.sub(r"\1 parameters", line)
                continue
            if _VALID_LOSS in figures:
                done, perplexity, bleu = _validation(figures)
                best = min(best, perplexity)
                yield f"  update {done:,.0f}: validation perplexity {perplexity:,.2f}{bleu}"
                so_far = f", validation perplexity {best:,.2f} at best{bleu}"
            elif logged.UPDATES in figures:
                done = float(figures[logged.UPDATES])
                now = float(figures.get(logged.UPDATES_PER_SECOND) or 0)
                speed = 0.8 * speed + 0.2 * now if speed else now
            if speed:
                left = (updates - done) / speed
                self.progress(
                    f"training: {done / updates:.0%}, update {done:,.0f} of at most {updates:,}, "
                    f"{time_text(left)} left, {time_text(left + self.after_training)} with all "
                    f"that follows{so_far}"
                )

    def progress(self, line: str) -> None:
        """How far the stage is."""
        now = time.monotonic()
        if now - self._said < (_AT_A_TERMINAL if self._live else _IN_A_LOG):
            return
        self._said = now
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{line[:width]}\033[K", end="", file=self._file, flush=True)
            self._shown = True
        else:
            print(f"  {line}", file=self._file, flush=True)

    def _clear(self) -> None:
        if self._shown:
            print("\r\033[K", end="", file=self._file, flush=True)
            self._shown = False

    def _title(self, name: str) -> str:
        return f"[{self._stages.index(name) + 1}/{len(self._stages)}] {name}"


def _validation(figures: Mapping[str, Any]) -> tuple[float, float, str]:
    """The number of the update, the perplexity, and words about BLEU where it was measured."""
    updates, perplexity, bleu = (
        figures.get(logged.of_split("valid", name))
        for name in (logged.UPDATES, logged.PERPLEXITY, "bleu")
    )
    words = "" if bleu is None else f", BLEU {float(bleu):.1f}"
    return float(updates or 0), float(perplexity or math.nan), words
