"""Run the recipes as a user does, on tiny settings and from another working directory."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import preloaded

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    **{"TRAIN_PAIRS": "300", "VALID_PAIRS": "20", "TEST_PAIRS": "9", "VOCABULARY": "300"},
    **{"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
}
# A small model that stops after few updates; an option given again later wins.
TRAINING = [
    *("--", "--dim", "16", "--lstm-cells", "16", "--moe-experts", "4", "--moe-hidden-dim", "16"),
    *("--max-tokens", "500", "--log-interval", "5"),
]


# What the recipes set for all that they run.
STARTED = {"PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"}


def environment(fresh: bool = False, **settings: object) -> dict[str, str]:
    """The settings of this test, free of what the shell around it may have set.

    The programs of Python are forked (:mod:`tests.preloaded`) unless they shall be ``fresh``.
    """
    own = {
        *("RUN_DIR", "SEED", "MULTI30K", "MULTI30K_URL", "TIME", "PAPERS", "PYTHON", "CXX"),
        *("GPUS", "NODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"),
        *("PREPARED", "BATCH_GPUS", "MAX_TOKENS", "AVERAGE", "PRECISION", "VOCABULARY", "SAMPLE"),
        *("WMT14_MIRROR", "WMT14_ARCHIVES", "WMT14_MANIFEST", "TEST_SET", "CORPORA", "WORKERS"),
        *("BEAM", "ALPHA", "BETA", "AGAINST", "OUT", "PAIRS", "EXPERTS", "TEMPERATURE"),
        *("CELLS", "SEEDS", "JOBS", "RESULTS", "TRAIN", "VALID", "TEST", "MINUTES"),
        *("TEXT", "MODELS", "GATINGS", "UPDATES", "PHRASES", "VALID_LINES", "TEST_LINES"),
    }
    kept = {name: value for name, value in os.environ.items() if name not in own}
    forked = {} if fresh else preloaded.functions(**STARTED)
    return kept | SMALL | forked | {name: str(value) for name, value in settings.items()}


def run(
    script: Path | str, *arguments: str, cwd: Path | str = "/", input: str = "", **settings: Any
):
    """Run a script of ``recipes/`` to its end, with the settings of :func:`environment`."""
    return subprocess.run(
        [str(ROOT / "recipes" / script), *arguments],
        cwd=cwd,
        env=environment(**settings),
        input=input,
        capture_output=True,
        encoding="utf-8",
        timeout=500,
    )


def killed(
    script: str, *arguments: str, after: Callable[[], Any], cwd: Path | str = "/", **settings: Any
) -> None:
    """Start a script of ``recipes/``, and kill all of it as soon as something has happened."""
    started = subprocess.Popen(
        [str(ROOT / "recipes" / script), *arguments],
        cwd=cwd,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + 300
    while not after() and started.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()


def error(finished: subprocess.CompletedProcess[str]) -> str:
    """The one line that says what was wrong."""
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert len(finished.stderr.splitlines()) == 1, finished.stderr
    return finished.stderr


def headings(text: str) -> list[str]:
    """The stages as printed, and whether each was done before."""
    names = [line[3:] for line in text.splitlines() if line.startswith("== ")]
    return [name.partition(" (")[0] for name in names if not name.startswith("summary")]
