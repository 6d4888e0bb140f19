"""The claims about language models, of one text."""

import gzip
from collections.abc import Sequence
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.runs.claims.grid import Grid
from nmt_moe.runs.folder import BEST
from nmt_moe.runs.steps import PLUGIN, Stage, log, train

# As in the paper, a sentence knows nothing of the one before.
TASK = ["--task", "language_modeling", "--sample-break-mode", "eos"]


def run(grid: Grid, words: Sequence[str], clean: bool) -> None:
    """Train all cells of a grid on some files, on a folder, or else on the phrasebook.

    Raises:
        UserError: no such files, or a run of other ones.
    """
    texts = [Path(word).absolute() for word in words]
    for text in texts:
        if not text.exists():
            raise UserError(f"no file or folder {text}")
        if text.is_dir() and texts[1:]:
            raise UserError(f"one folder, or files: {text} is a folder")
    given, folder = grid.settings, grid.run.path
    lines = f"lines={given['VALID_LINES']} {given['TEST_LINES']} {given['PHRASES']}"
    grid.open(clean, f"text={' '.join(map(str, texts)) or 'phrasebook'}", lines)
    if texts and texts[0].is_dir():
        text, before = texts[0], None
    elif texts:
        text, before = folder / "text/text.txt", "text"
        grid.run.stage("text", lambda stage: gather(texts, stage / "text.txt"))
    else:
        text, before = folder / "text/en-de/train.en", "text"
        phrasebook = ["python", "-m", "nmt_moe.corpus.phrasebook", "--target", "de"]
        sizes = ["--train", given["PHRASES"], "--valid", "1", "--test", "1"]
        grid.stage("text", None, [*phrasebook, "--out", str(folder / "text"), *sizes])
    corpus = ["python", "-m", "nmt_moe.corpus.monolingual", str(text), "--out"]
    sizes = ["--valid", given["VALID_LINES"], "--test", given["TEST_LINES"]]
    grid.stage("corpus", before, [*corpus, str(folder / "corpus"), *sizes])
    pieces = ["wordpieces", given["VOCABULARY"], "250", str(folder / "corpus"), "txt"]
    grid.stage("wordpieces", "corpus", pieces)
    grid.stage("binary", "wordpieces", ["binary", "--only-source"])

    def training(stage: Stage, options: Sequence[str]) -> None:
        command = []
        if grid.peak:
            peak = ["python", "-m", "nmt_moe.runs.claims", "peak", str(stage.folder / "peak")]
            command = [*peak, "fairseq-train"]
        train(stage, *TASK, *grid.common, "--keep-interval-updates", "1", *options, command=command)
        measure(stage, *TASK)

    grid.train(training, grid.typed(*words))


def gather(texts: Sequence[Path], out: Path) -> None:
    """Each line once, as corpora of sentence pairs repeat them; files may be gzipped."""
    seen: dict[bytes, None] = {}
    for path in texts:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as lines:
            seen.update((line.rstrip(b"\n"), None) for line in lines)
    with atomic_write([out], "wb") as [file]:
        file.writelines(line + b"\n" for line in seen)


def measure(stage: Stage, *options: str) -> None:
    """Perplexity and balance of the test text, in ``test.log``."""
    if stage.run.node == 0:
        log(
            stage, "test.log", "fairseq-validate", str(stage.run.path / "binary"), *PLUGIN,
            "--path", str(stage.folder / BEST), "--valid-subset", "test", "--batch-size", "64",
            "--log-format", "json", *options,
        )  # fmt: skip
