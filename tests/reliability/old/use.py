"""What is done with a kept model: translate or predict, evaluate, and train on.

A folder of a release has one for each kind of model, with its checkpoint and what came out when
it was made, ``expected.json``; and beside these the text, its pieces and the dictionary.
"""

import gzip
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from fairseq_cli import eval_lm, preprocess, validate
from fairseq_cli import train as training

import nmt_moe.plugin  # noqa: F401 (registers the models)
from nmt_moe.corpus.wordpieces import model as wordpieces
from nmt_moe.trained import load
from tests.reliability.forked import apart

FOLDER = Path(__file__).parent
KEPT = "checkpoint.pt.gz"
LANGUAGES = ("en", "xx")
SPLITS = ("train", "test")
RESUMED = 5
"""Updates of a training that goes on."""


def is_language_model(options: list[str]) -> bool:
    return "language_modeling" in options


def prepare(release: Path, work: Path) -> None:
    """Make the binary data of a release's text for both tasks, ``bin`` and ``lm``."""
    pieces = wordpieces.load(release / "sentencepiece.model")
    for split in SPLITS:
        for language in LANGUAGES:
            lines = (release / f"{split}.{language}").read_text().splitlines()
            cut = (" ".join(pieces.encode(line, out_type=str)) for line in lines)
            (work / f"{split}.{language}").write_text("".join(f"{line}\n" for line in cut))
    prefixes = [f"--{split}pref={work / split}" for split in SPLITS]
    languages = ["--source-lang", LANGUAGES[0], "--target-lang", LANGUAGES[1]]
    words = ["--srcdict", release / "dict.txt"]
    options = [*languages, *words, "--joined-dictionary", *prefixes, "--destdir", work / "bin"]
    apart(work / "preprocess.log", preprocess.cli_main, options)
    prefixes = [f"--{split}pref={work / split}.{LANGUAGES[0]}" for split in SPLITS]
    options = ["--only-source", *words, *prefixes, "--destdir", work / "lm"]
    apart(work / "preprocess.log", preprocess.cli_main, options)


def pack(checkpoint: Path, kept: Path) -> int:
    """Compress a checkpoint to keep it; its size then."""
    kept.write_bytes(gzip.compress(checkpoint.read_bytes(), mtime=0))
    return kept.stat().st_size


def unpack(model: Path, work: Path) -> Path:
    """The kept checkpoint in a folder with all that belongs to it."""
    folder = work / model.name
    folder.mkdir()
    release = model.parent
    shutil.copy(release / "sentencepiece.model", folder)
    for language in LANGUAGES:
        shutil.copy(release / "dict.txt", folder / f"dict.{language}.txt")
    checkpoint = folder / "checkpoint.pt"
    checkpoint.write_bytes(gzip.decompress((model / KEPT).read_bytes()))
    return checkpoint


def translate(release: Path, checkpoint: Path) -> list[str]:
    """The translations of the first lines, as ``python -m nmt_moe.translate`` makes them."""
    translator = load(checkpoint).translator(beam=4, batch_size=8, max_pieces=50)
    return translator((release / f"test.{LANGUAGES[0]}").read_text().splitlines()[:20])


def evaluate(options: list[str], checkpoint: Path, work: Path) -> float:
    """The loss on the test text, in bits per piece."""
    log = work / "evaluate.log"
    common = ["--path", checkpoint, "--cpu"]
    if is_language_model(options):
        given = ["lm", *common, *options[:4], "--gen-subset", "test"]
        apart(log, _inside(work, eval_lm.cli_main), given)
        pattern = r"Loss \(base 2\): (\S+),"
    else:
        given = ["bin", *common, "--task", "translation", "--valid-subset", "test"]
        apart(
            log,
            _inside(work, validate.cli_main),
            [*given, "--batch-size", 20, "--log-format", "json"],
        )
        pattern = r'"test_nll_loss": "([\d.]+)"'
    found = re.findall(pattern, log.read_text())
    assert len(found) == 1, log.read_text()
    return float(found[0])


def train(options: list[str], updates: int, save: Path, work: Path, *more: object) -> list[float]:
    """Train to this number of updates; the loss of each."""
    log = work / "train.log"
    data = "lm" if is_language_model(options) else "bin"
    given = [data, "--save-dir", save.name, *options, "--max-update", updates, *more]
    apart(log, _inside(work, training.cli_main), given)
    found = re.findall(r'train_inner.*"loss": "([\d.]+)"', log.read_text())
    return [float(loss) for loss in found]


def resume(options: list[str], checkpoint: Path, work: Path) -> list[float]:
    """The losses of some more updates, with the command of its training."""
    done = torch.load(checkpoint, weights_only=True)["optimizer_history"][-1]["num_updates"]
    save = work / f"{checkpoint.parent.name} resumed"
    return train(options, done + RESUMED, save, work, "--restore-file", checkpoint)


def _inside(folder: Path, command: Callable[[], None]) -> Callable[[], None]:
    """So that a checkpoint has no paths of this machine in it."""

    def run() -> None:
        os.chdir(folder)
        command()

    return run
