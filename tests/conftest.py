"""What the tests of the commands share: a small corpus, and a model trained on it."""

import compileall
import fcntl
import gc
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Some virtual machines announce AMX and stop a bfloat16 product that uses it.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests import preloaded
from tests.commands import PLUGIN, run, train
from tests.tally import Summary, tally  # noqa: F401  a fixture for all tests

if not torch.cuda.is_available():
    # Read when Triton is imported, which torch.compile does before the kernels' own tests may.
    os.environ["TRITON_INTERPRET"] = "1"
torch.set_num_threads(1)  # the tests' tensors are small
# A machine may be busy.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

Shared = Callable[[str, Callable[[Path], object]], Path]
WORDS = [f"w{number}" for number in range(20)]


def pytest_configure(config: pytest.Config) -> None:
    """Let the run end with what the tests of reliability counted, and the commands begin faster."""
    config.pluginmanager.register(Summary())
    if not hasattr(config, "workerinput"):
        # Or hundreds of commands would each do it, where PYTHONDONTWRITEBYTECODE is set.
        compileall.compile_dir(PLUGIN, quiet=2)
        if sys.platform == "linux":
            preloaded.begin()


def pytest_collection_finish() -> None:
    """Let no collection of garbage look through all tests and what they have imported."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the tests that need no subprocess: they fail soonest."""
    items.sort(key=lambda item: "corpus" in getattr(item, "fixturenames", ()))


@pytest.fixture(autouse=True)
def forget_meters() -> Iterator[None]:
    """A training in this process leaves its sums to the next one, whose experts are others."""
    yield
    if "fairseq" in sys.modules:
        from fairseq.logging import metrics

        metrics.reset()


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Folders that the workers of a run share: a name, and what fills that one when it is new."""
    base = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        base = base.parent  # each worker has its own within that of the run

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        made = base / name
        with (base / f"{name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.fstat(lock.fileno()).st_size:  # as it is now, not as it was opened
                shutil.rmtree(made, ignore_errors=True)
                made.mkdir()
                fill(made)
                lock.write("filled\n")
        return made

    return folder


@pytest.fixture(scope="session")
def corpus(shared: Shared) -> Path:
    """A folder of text files: sentences of 2 to 8 words, and the same words in reverse."""
    return shared("corpus", _write_corpus)


def _write_corpus(folder: Path) -> None:
    chance = random.Random(0)
    for split, size in {"train": 200, "valid": 20, "test": 20}.items():
        sentences = [chance.choices(WORDS, k=chance.randint(2, 8)) for _ in range(size)]
        lines = {"a": sentences, "b": [sentence[::-1] for sentence in sentences]}
        for language, texts in lines.items():
            text = "".join(" ".join(words) + "\n" for words in texts)
            (folder / f"{split}.{language}").write_text(text)


@pytest.fixture(scope="session")
def data(corpus: Path, shared: Shared) -> Path:
    """The corpus as ``fairseq-preprocess`` leaves it, with one dictionary for both languages."""
    prefixes = [f"--{split}pref={corpus / split}" for split in ("train", "valid", "test")]
    options = ["--source-lang", "a", "--target-lang", "b", "--joined-dictionary", *prefixes]
    return shared("data", lambda made: run("fairseq-preprocess", *options, "--destdir", made))


@pytest.fixture(scope="session")
def trained(data: Path, shared: Shared) -> Path:
    """The checkpoint of a model that was trained for 150 updates."""
    options = ["--max-update", 150, "--lr", 0.02]
    options += ["--validate-interval", 5, "--save-interval", 5]  # epochs
    folder = shared("trained", lambda made: train(data, made, *options))
    return folder / "checkpoint_last.pt"
