"""One golden run: 100 updates of fairseq's own trainer on a tiny model, then its translations.

A run in float64 rounds so finely that after 100 updates all processors, BLAS libraries and
versions of torch still agree to many digits; in float32 they part soon, as one expert is chosen
in place of another.
"""

import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from fairseq.logging import metrics
from fairseq.trainer import Trainer
from fairseq_cli import generate, preprocess
from fairseq_cli import train as training

import nmt_moe.plugin  # noqa: F401 (registers the models)
from tests.reliability.forked import apart

UPDATES = 100
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}
_BALANCED = ["--moe-gating", "strictly_balanced"]
_TOP_K = ["--moe-gating", "top_k"]
_GROUPS = ["--moe-groups", "4"]
_ADDITIVE = ["--attention", "additive", "--attention-residual", "--encoder-bidirectional"]
KINDS: dict[str, list[str]] = {
    "noisy_top_k": [],
    "noisy_top_k_groups": _GROUPS,
    "strictly_balanced": _BALANCED,
    "strictly_balanced_groups": [*_BALANCED, *_GROUPS],
    "top_k": _TOP_K,
    "top_k_groups": [*_TOP_K, *_GROUPS],
    "noisy_top_k_groups_additive": [*_GROUPS, *_ADDITIVE],
}
"""The options of each gating, and of the parts of a translation model that are not its defaults."""

# Each part of a training that makes numbers takes part in it.
_TRAINING = [
    *("--arch", "lstm_moe_tiny", "--dim", "16", "--lstm-cells", "32", "--dropout", "0.2"),
    *("--attention", "multiplicative"),
    *("--moe-experts", "16", "--moe-k", "2", "--moe-hidden-dim", "16"),
    *("--criterion", "moe_label_smoothed_cross_entropy", "--label-smoothing", "0.1"),
    *("--optimizer", "moe_adam", "--weight-decay", "0.01", "--clip-norm", "1", "--lr", "0.005"),
    *("--lr-scheduler", "warmup_hold_inverse_sqrt", "--warmup-updates", "10"),
    *("--hold-updates", "60", "--batch-size", "20", "--seed", "3"),
    *("--required-batch-size-multiple", "1"),
    *("--disable-validation", "--no-epoch-checkpoints"),
    *("--cpu", "--num-workers", "0", "--log-format", "none"),
]
_SEARCH = [
    *("--task", "gnmt_translation", "--beam", "4", "--batch-size", "7", "--cpu"),
    *("--required-batch-size-multiple", "1", "--max-len-b", "20"),
]


@dataclass
class Run:
    """What came out."""

    losses: list[float]
    """Cross entropy of each update, in bits per token."""
    translations: list[tuple[float, str]]
    """Score and text for each sentence of the test set."""


@contextmanager
def comparable() -> Iterator[None]:
    """Lets a training run in float64, and draws dropout alike on all processors."""
    norm, functional = torch.norm, torch.nn.functional

    def exact_norm(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return norm(x, *args, **kwargs | {"dtype": x.dtype})  # fairseq asks for float32

    # torch draws another way on processors of Intel.
    with patch.object(torch, "norm", exact_norm), patch.object(functional, "dropout", _dropout):
        yield


def _dropout(
    x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> torch.Tensor:
    if not training:
        return x
    return x * (torch.rand(x.shape, dtype=torch.float64) >= p).type_as(x) / (1 - p)


def prepare(folder: Path) -> Path:
    """The binary data of a small corpus: sentences, and the same words in reverse."""
    chance = random.Random(0)  # of which Python promises that random() stays as it is
    for split, size in {"train": 200, "test": 20}.items():
        lines = []
        for _ in range(size):
            length = 2 + int(chance.random() * 3)
            lines.append([f"w{int(chance.random() * 6)}" for _ in range(length)])
        for language, step in (("a", 1), ("b", -1)):
            text = "".join(" ".join(words[::step]) + "\n" for words in lines)
            (folder / f"{split}.{language}").write_text(text)
    prefixes = [f"--{split}pref={folder / split}" for split in ("train", "test")]
    languages = ["--source-lang", "a", "--target-lang", "b", "--joined-dictionary"]
    options = [*languages, *prefixes, "--destdir", folder / "bin"]
    apart(folder / "preprocess.log", preprocess.cli_main, options)
    return folder / "bin"


def run(data: Path, kind: str, precision: str, folder: Path) -> Run:
    """Train a model of this kind in this precision, and translate with it."""
    losses = train(data, kind, precision, folder)
    return Run(losses, translate(data, precision, folder))


def train(
    data: Path, kind: str, precision: str, folder: Path, updates: int = UPDATES
) -> list[float]:
    """The losses of a model's training, which leaves it in the folder."""
    options = [data, "--save-dir", folder, *_TRAINING, *KINDS[kind], "--max-update", updates]
    losses = folder / "losses.json"
    apart(folder / "train.log", lambda: _train(losses), options, PRECISIONS[precision])
    return json.loads(losses.read_text())


def translate(data: Path, precision: str, folder: Path) -> list[tuple[float, str]]:
    """The translations of the folder's model."""
    options = [data, "--path", folder / "checkpoint_last.pt", *_SEARCH, "--results-path", folder]
    apart(folder / "generate.log", generate.cli_main, options, PRECISIONS[precision])
    text = (folder / "generate-test.txt").read_text()
    found = {int(n): (float(s), t) for n, s, t in re.findall(r"^H-(\d+)\t(\S+)\t(.*)$", text, re.M)}
    return [found[number] for number in sorted(found)]


def _train(result: Path) -> None:
    losses: list[float] = []
    step = Trainer.train_step

    def watched(*args: Any, **kwargs: Any) -> Any:
        found = step(*args, **kwargs)
        losses.append(float(metrics.get_meter("train_inner", "loss").val))  # not rounded
        return found

    Trainer.train_step = watched
    with comparable():
        training.cli_main()
    result.write_text(json.dumps(losses))
