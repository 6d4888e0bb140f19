"""Time, memory and disk of a training, from a short one with the same text and the same choices."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nmt_moe.common import logged
from nmt_moe.common.progress import bytes_text
from nmt_moe.own_text.choices import DAY, VALIDATIONS, Choices, duration
from nmt_moe.own_text.programs import failure
from nmt_moe.own_text.request import PLUGIN
from nmt_moe.runs.training_log import record

CHECKPOINTS = 7
"""On the disk at once, the average among them."""
_UPDATES_OF_PASS = re.compile(r"total_num_itrs = (\d+)")
_VALIDATES = "begin validation on"
_BEGINS = "Start iterating over samples"
_SHARE, _FEWEST = 0.1, 10  # of a training that its validations may take, and how many there are
_LONG = 10  # seconds of a validation, beyond which it has no BLEU where that share is too small,
_LOSS = 0.3  # and takes so much of them: with 3,000 sentences of news the search takes 78%
_SURE = 0.95  # of the time: a training which that ends before its schedule has learned less
_AFTER = 60  # seconds after a training, and in validations what depends on the model and the text:
_TRANSLATING, _SILENT = 6, 60  # where validations translate, and where they do not
_COLD = 0.2  # of the updates, at the beginning, which take longer
_SHOWN = 5  # lines of a training that has failed


@dataclass(frozen=True)
class Estimate:
    """What a short training has shown."""

    start: float
    """Seconds to the first update."""
    updates_per_second: float
    pieces_per_second: float
    """Wordpieces of the target side."""
    updates_per_pass: int
    """Over the training text."""
    validation: float
    """Seconds."""
    memory: int
    """Bytes at the most, of the process, or of a GPU where there is one."""
    checkpoint: int
    """Bytes, with the state of the optimizer."""
    measured: float
    """Seconds of updates that this comes from."""

    def seconds(self, updates: int, validations: int = VALIDATIONS) -> float:
        """Of a training with so many updates."""
        return self.start + updates / self.updates_per_second + validations * self.validation

    def updates(self, seconds: float, validations: int = VALIDATIONS) -> float:
        """Those that such a training makes in this time; negative where the rest takes longer."""
        left = seconds - self.start - validations * self.validation
        return left * self.updates_per_second

    def disk(self, checkpoints: int = CHECKPOINTS) -> int:
        """Bytes of a training."""
        return checkpoints * self.checkpoint

    def fit(self, choices: Choices, seconds: float | None, *, translates: bool = True) -> Choices:
        """The choices with as many updates as the time allows.

        Args:
            choices: those that were measured.
            seconds: left for the training and all that follows; None: a day.
            translates: whether a validation does.

        Returns:
            Choices whose reasons are those of the number of updates, and the estimate.

        Raises:
            UserError: the time is too short for any training.
        """
        after = _AFTER + (_TRANSLATING if translates else _SILENT) * self.validation
        left = (DAY if seconds is None else seconds) - after
        share = _SHARE * max(left, 0)
        quiet = translates and self.validation > _LONG and share < _FEWEST * self.validation
        validating = replace(self, validation=_LOSS * self.validation) if quiet else self
        most = share / max(validating.validation, 1e-3)
        number = int(min(max(most, _FEWEST), VALIDATIONS))
        speed = self.updates_per_second
        time = f"{duration(max(left, 0))} of training and {number} validations"
        why = f"{time} at {speed:.3g} updates a second"
        updates = validating.updates(_SURE * left, number)
        fitted = choices.fitted(self.updates_per_pass, updates, speed, why)
        told = (
            f"about {duration(validating.seconds(fitted.updates, number))} of training, "
            f"{bytes_text(self.memory)} of memory and {bytes_text(self.disk())} of disk, by "
            f"{duration(self.measured)} of a training with this text"
        )
        ends = None if seconds is None else left
        reasons = [*fitted.reasons, told]
        if quiet:
            took = duration(self.validation)
            reasons.append(f"no BLEU in validations, one of which would take {took}")
        shown = translates and not quiet
        return replace(fitted, validations=number, translates=shown, seconds=ends, reasons=reasons)


def measure(
    binary: Path,
    choices: Choices,
    seconds: float = 60,
    *,
    options: Sequence[str] = (),
    command: Sequence[str] | None = None,
    folder: Path | None = None,
) -> Estimate:
    """Train for some seconds, validate and save.

    Args:
        binary: what ``fairseq-preprocess`` has made.
        choices: what to train with.
        seconds: from when the training has been set up; one update is made at least.
        options: further ones of ``fairseq-train``, such as what a validation does.
        command: in place of ``fairseq-train``.
        folder: where the checkpoint is written and removed again; None: beside the data.

    Raises:
        UserError: the training has failed; the message is its own.
    """
    with tempfile.TemporaryDirectory(dir=folder or binary.parent, prefix="measured-") as made:
        words = [
            *(command or [str(Path(sys.executable).with_name("fairseq-train"))]), str(binary),
            *PLUGIN, *choices.options, *options,
            *("--max-update", str(max(choices.updates, 1)), "--save-dir", made),
            *("--stop-time-hours", f"{seconds / 3600:.9f}", "--no-epoch-checkpoints"),
            *("--validate-interval", "1000000", "--save-interval", "1000000"),
            *("--log-format", "json", "--log-interval", "1"),
        ]  # fmt: skip
        found = _Followed()
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        try:
            assert process.stdout is not None
            found.follow(process.stdout)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            process.kill()
            process.wait()
        if process.returncode or not found.updates:
            raise failure("the training that is measured has failed", found.last)
        checkpoint = Path(made, "checkpoint_last.pt").stat().st_size
    unit = 1 if sys.platform == "darwin" else 1024
    return found.estimate(found.gpu_memory() or used.ru_maxrss * unit, checkpoint)


class _Followed:
    """The lines of a training, each with the time when it came."""

    def __init__(self) -> None:
        self.updates: list[tuple[float, dict[str, Any]]] = []
        self.pass_ = 0
        self.begun = self.iterating = time.monotonic()
        self.validation = [0.0, 0.0]
        self.last: deque[str] = deque(maxlen=_SHOWN)

    def follow(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.last.append(line)
            now, figures = time.monotonic(), record(line)
            if figures is not None and logged.UPDATES in figures:
                self.updates.append((now, figures))
            elif figures is not None and logged.of_split("valid", logged.LOSS) in figures:
                self.validation[1] = now
            elif (grouped := _UPDATES_OF_PASS.search(line)) is not None and not self.pass_:
                self.pass_ = int(grouped[1])
            elif _VALIDATES in line:
                self.validation[0] = now
            elif _BEGINS in line and not self.updates:
                self.iterating = now

    def gpu_memory(self) -> int:
        """Bytes that were taken of a GPU; 0 without one."""
        free = [float(figures["gb_free"]) for _, figures in self.updates if "gb_free" in figures]
        if not free:
            return 0
        return int(torch.cuda.get_device_properties(0).total_memory - min(free) * 2**30)

    def estimate(self, memory: int, checkpoint: int) -> Estimate:
        times = [self.iterating, *(at for at, _ in self.updates)]
        cold = min(int(_COLD * len(times)), len(times) - 2)
        passed = max(times[-1] - times[cold], 1e-3)
        pieces = sum(float(figures[logged.PIECES_PER_BATCH]) for _, figures in self.updates[cold:])
        return Estimate(
            start=self.iterating - self.begun,
            updates_per_second=(len(times) - 1 - cold) / passed,
            pieces_per_second=pieces / passed,
            updates_per_pass=self.pass_,
            validation=max(self.validation[1] - self.validation[0], 0.0),
            memory=memory,
            checkpoint=checkpoint,
            measured=times[-1] - times[0],
        )
