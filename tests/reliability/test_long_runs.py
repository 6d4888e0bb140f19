"""Long runs: their memory, open files and processes do not grow."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.commands import PLUGIN, TINY, TRAINING, run
from tests.recipes import ROOT, environment
from tests.reliability import stages, watched
from tests.reliability.children import in_a_child
from tests.reliability.processes import growth, memory, of_session, open_files
from tests.test_translate import WORDS, learned, prepared

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
UPDATES = 1500
TRAINING_GROWS = 1.5  # MiB from update 300 to 1,500, 1.3 KiB in each
LINES = 20_000
TRANSLATION_GROWS = 3  # MiB from line 4,000 to 19,000, 0.2 KiB in each


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
    command: list[object], env: dict[str, str], stdin: Any = None
) -> Iterator[subprocess.Popen[str]]:
    """A command in a session of its own; none of its processes is left where a test fails."""
    with subprocess.Popen(
        [*map(str, command)],
        env=env,
        stdin=stdin,
        stdout=subprocess.PIPE,
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
    where = [str(sentences), "--user-dir", str(PLUGIN), "--save-dir", str(tmp_path / "run")]
    train = partial(stages.train, [*where, *TINY, *TRAINING, *options])
    finished = in_a_child(train, tmp_path, watched.note(tmp_path / "held", every=50), seconds=550)
    assert finished.code == 0, finished.stdout[-2000:] + finished.stderr
    there = stages.updates(tmp_path / "run" / "checkpoint_last.pt")
    tally(inputs=UPDATES, work=UPDATES, losses=max(0, UPDATES - there))
    seen = [held for held in watched.noted(tmp_path / "held") if held.updates >= UPDATES // 5]
    assert seen[-1].updates == UPDATES and len(seen) == 25
    grown = growth([(held.updates, held.mib) for held in seen])
    print(f"{grown:.2f} MiB", seen[::8])
    assert grown < TRAINING_GROWS
    # Those of a finished epoch are closed when Python looks for what nothing needs any more.
    assert max(held.files for held in seen[len(seen) // 2 :]) < 150
    assert growth([(held.updates, held.files) for held in seen]) < 50
    # Besides itself the worker of the epoch, that of the validation, and one that is ending.
    assert max(held.processes for held in seen) <= 4


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
    with text.open() as file, started(command, environment(fresh=True), file) as translation:
        for lines, _ in enumerate(translation.stdout, start=1):
            # It may be some thousand lines ahead of this process, but not at its end.
            if lines % 500 == 0 and LINES // 5 <= lines <= LINES * 19 // 20:
                pid = translation.pid
                seen.append((lines, memory(pid), open_files(pid), len(of_session(pid))))
    tally(inputs=LINES, work=LINES, losses=abs(LINES - lines))
    assert translation.returncode == 0 and lines == LINES
    print(f"{growth([(n, mib) for n, mib, _, _ in seen]):.1f} MiB", seen[::8])
    assert growth([(n, mib) for n, mib, _, _ in seen]) < TRANSLATION_GROWS
    assert len({files for _, _, files, _ in seen}) == 1
    assert {processes for _, _, _, processes in seen} == {1}
