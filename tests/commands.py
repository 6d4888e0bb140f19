"""Run fairseq's commands as a user types them, and read what they print."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import preloaded

BIN = Path(sys.executable).parent
PLUGIN = Path(__file__).resolve().parents[1] / "nmt_moe"

# A model that trains within seconds; an option given again later wins.
TINY = [
    *("--arch", "lstm_moe_tiny", "--dim", "16", "--lstm-cells", "16"),
    *("--moe-experts", "4", "--moe-k", "2", "--moe-hidden-dim", "16"),
    *("--criterion", "moe_label_smoothed_cross_entropy", "--label-smoothing", "0.1"),
]
TRAINING = [
    *("--optimizer", "adam", "--lr", "0.005", "--batch-size", "20", "--seed", "7", "--cpu"),
    *("--no-epoch-checkpoints", "--num-workers", "0"),
    *("--log-format", "json", "--log-interval", "10"),
]


@dataclass
class Finished:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    def logs(self, tag: str) -> list[dict[str, Any]]:
        """What ``--log-format json`` printed as ``train_inner``, ``train`` or ``valid``."""
        lines = re.findall(rf"\| INFO \| {tag} \| (\{{.*\}})$", self.stdout, re.MULTILINE)
        return [json.loads(line) for line in lines]

    def error(self) -> str:
        """The one line that says what was wrong, of a command that failed as it should."""
        everything = self.stdout + self.stderr
        assert self.code != 0, everything
        assert "Traceback" not in everything, everything
        lines = [line for line in self.stderr.splitlines() if "error: " in line]
        assert len(lines) == 1, everything
        program, _, message = lines[0].partition("error: ")
        assert not program or program.startswith("fairseq-"), lines[0]  # argparse's own errors
        return message


def run(
    command: str, *arguments: object, fails: bool = False, fresh: bool = False, **options: Any
) -> Finished:
    """Run a program of the environment to its end, which must be 0 unless it ``fails``.

    A ``fresh`` one imports all it needs itself, see :mod:`tests.preloaded`. Other options are those
    of :func:`subprocess.run`.
    """
    words = [str(BIN / command), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(
        words if fresh else preloaded.command(command, *arguments),
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        **options,
    )
    finished = Finished(ended.returncode, ended.stdout, ended.stderr)
    assert fails or finished.code == 0, finished.stdout + finished.stderr
    return finished


def train(data: Path, save_dir: Path, *arguments: object, **options: Any) -> Finished:
    """``fairseq-train`` of the small model."""
    where = ["--user-dir", PLUGIN, "--save-dir", save_dir]
    return run("fairseq-train", data, *where, *TINY, *TRAINING, *arguments, **options)
