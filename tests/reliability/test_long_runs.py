"""Long runs: their memory, open files and processes do not grow."""

import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.commands import BIN, PLUGIN, TINY, TRAINING, run
from tests.recipes import ROOT, environment
from tests.reliability.processes import growth, memory, of_session, open_files
from tests.test_translate import WORDS, learned, prepared

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
UPDATES = 5000
TRAINING_GROWS = 20  # MiB from update 1,000 to 5,000; measured: -4.8, -0.5, 5.0, 6.4
LINES = 100_000
TRANSLATION_GROWS = 12  # MiB from line 20,000 to 100,000; measured: 0.1 to 0.4


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 1,500 sentences of 1 to 40 words: no two batches have the same shape."""
    folder = tmp_path_factory.mktemp("sentences")
    chance = random.Random(0)
    for split, size in {"train": 1500, "valid": 20}.items():
        lengths = [min(40, 1 + int(chance.expovariate(1 / 7))) for _ in range(size)]
        texts = [[f"w{chance.randrange(40)}" for _ in range(length)] for length in lengths]
        for language, step in (("a", 1), ("b", -1)):
            lines = "".join(" ".join(words[::step]) + "\n" for words in texts)
            (folder / f"{split}.{language}").write_text(lines)
    prefixes = [f"--{split}pref={folder / split}" for split in ("train", "valid")]
    languages = ["--source-lang", "a", "--target-lang", "b", "--joined-dictionary"]
    run("fairseq-preprocess", *languages, *prefixes, "--destdir", folder / "bin")
    return folder / "bin"


@contextmanager
def started(
    command: list[object], env: dict[str, str], stdin: Any = None, stderr: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A command in a session of its own; none of its processes is left where a test fails."""
    with subprocess.Popen(
        [*map(str, command)],
        env=env,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        try:
            yield process
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def test_training(sentences, tmp_path, tally):
    """With what a long training has: workers, validation, checkpoints, TensorBoard, many epochs."""
    options = ["--max-tokens", "100", "--max-update", str(UPDATES), "--num-workers", "1"]
    options += ["--log-interval", "50", "--tensorboard-logdir", str(tmp_path / "curves")]
    command = [
        BIN / "fairseq-train",
        sentences,
        "--user-dir",
        PLUGIN,
        "--save-dir",
        tmp_path / "run",
    ]
    env = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command += [*TINY, *TRAINING, *options]
    seen: list[tuple[int, float, int, int]] = []
    printed = []
    with started(command, env, stderr=subprocess.STDOUT) as training:
        for line in training.stdout:
            printed.append(line)
            at = re.search(r"\| train_inner \|.*\"num_updates\": \"(\d+)\"", line)
            if at and int(at[1]) >= 1000:
                pid = training.pid
                seen.append((int(at[1]), memory(pid), open_files(pid), len(of_session(pid))))
    assert training.returncode == 0, "".join(printed[-20:])
    tally(inputs=UPDATES, losses=0)
    assert seen[-1][0] == UPDATES and len(seen) == 81
    print(f"{growth([(n, mib) for n, mib, _, _ in seen]):.1f} MiB", seen[::8])
    assert growth([(n, mib) for n, mib, _, _ in seen]) < TRAINING_GROWS
    # Python closes the pipes of a finished epoch some epochs later.
    half = len(seen) // 2
    assert max(files for _, _, files, _ in seen[half:]) < 150
    assert growth([(n, files) for n, _, files, _ in seen]) < 50
    # Besides itself the worker of the epoch, that of the validation, and one that is ending.
    assert max(processes for _, _, _, processes in seen) <= 4


def test_translation(tmp_path, tally):
    checkpoint = learned(prepared(tmp_path), "--max-update", 150, "--lr", 0.02)
    chance = random.Random(1)
    text = tmp_path / "text"
    with text.open("w") as file:
        for n in range(LINES):
            file.write(" ".join(chance.choices(WORDS, k=1 + n % 7)).capitalize() + ".\n")
    command = [ROOT / "recipes" / "translate.sh", checkpoint, "--device", "cpu", "--beam", "1"]
    seen = []
    lines = 0
    with text.open() as file, started(command, environment(), file) as translation:
        for lines, _ in enumerate(translation.stdout, start=1):
            if lines % 1000 == 0 and LINES // 5 <= lines < LINES:
                pid = translation.pid
                seen.append((lines, memory(pid), open_files(pid), len(of_session(pid))))
    assert translation.returncode == 0 and lines == LINES
    tally(inputs=LINES, losses=0)
    print(f"{growth([(n, mib) for n, mib, _, _ in seen]):.1f} MiB", seen[::8])
    assert growth([(n, mib) for n, mib, _, _ in seen]) < TRANSLATION_GROWS
    assert len({files for _, _, files, _ in seen}) == 1
    assert {processes for _, _, _, processes in seen} == {1}
