"""The claims about translation: BLEU of each cell with fairseq's search, with the paper's, and with
the paper's and weights in int8 (``packed``)."""

import gzip
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.runs import commands
from nmt_moe.runs.claims.grid import Grid
from nmt_moe.runs.claims.language_models import measure
from nmt_moe.runs.claims.results import SUMS, checksums
from nmt_moe.runs.folder import BEST
from nmt_moe.runs.steps import PLUGIN, Stage, hypotheses, into, log, train

LANGUAGES = ["--source-lang", "en", "--target-lang", "de"]
_GNMT = ["--task", "gnmt_translation", "--gnmt-alpha", "0.2", "--gnmt-beta", "0.2"]
SEARCHES = {
    "fairseq": ["--task", "translation"],
    "gnmt": _GNMT,
    "packed": [*_GNMT, "--int8", "--cpu"],
}
URL = "https://github.com/multi30k/dataset"


def run(grid: Grid, words: Sequence[str], clean: bool) -> None:
    """Train all cells on the texts that the settings name, or else on Multi30k.

    Raises:
        UserError: no such files, or a run of other ones.
    """
    if words:
        raise UserError(f"unknown argument '{words[0]}': see {grid.claim}.sh --help")
    given, folder = grid.settings, grid.run.path
    named = {split: given[split.upper()].split() for split in ("train", "valid", "test", "test1")}
    tests = ["test", "test1"] if named["test1"] else ["test"]
    url = grid.environment.get("MULTI30K_URL") or URL
    texts = {split: [Path(text).absolute() for text in named[split]] for split in named}
    if any(named.values()):
        _check(named, tests)
    paths = [str(path) for split in texts.values() for path in split]
    grid.open(clean, f"from={' '.join(paths if texts['train'] else [url, *paths])}")
    before = None
    if not texts["train"]:
        before = "download"
        advice = "name them, TRAIN=folder/train VALID=folder/val TEST=folder/test_2016_flickr"
        grid.stage("download", None, ["clone", url, advice])
        raw = folder / "download/dataset/data/task1/raw"
        names = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
        texts |= {split: [raw / name] for split, name in names.items()}
    corpus = folder / "corpus/en-de"
    grid.run.stage("corpus", lambda _: gather(texts, ["train", "valid", *tests], corpus), before)
    pieces = ["wordpieces", given["VOCABULARY"], "100", str(corpus), "en", "de"]
    grid.stage("wordpieces", "corpus", pieces)
    grid.stage("binary", "wordpieces", ["binary", *LANGUAGES, "--joined-dictionary"])

    def training(stage: Stage, options: Sequence[str]) -> None:
        train(stage, *LANGUAGES, *grid.common, *options)
        if stage.run.node == 0:
            measure(stage, "--task", "translation", "--valid-subset", ",".join(tests))
            for search in grid.searches:
                for split in tests:
                    translate(stage, search, split)

    grid.train(training, grid.typed())
    if grid.run.node == 0 and len(grid.cells) > 1:
        compare(grid, tests)


def _check(named: Mapping[str, Sequence[str]], tests: Sequence[str]) -> None:
    """Whether there are texts of all splits."""
    for split in ("train", "valid", *tests):
        if not named[split]:
            raise UserError(f"TRAIN, VALID and TEST, please: there is no {split} text")
        for prefix in named[split]:
            for language in ("en", "de"):
                file = f"{prefix}.{language}"
                if not (Path(file).is_file() or Path(f"{file}.gz").is_file()):
                    raise UserError(f"no file {file}, with or without .gz")


def gather(texts: Mapping[str, Sequence[Path]], splits: Sequence[str], out: Path) -> None:
    """One text of each split and language, of all files one after the other."""
    out.mkdir(parents=True, exist_ok=True)
    for split in splits:
        for language in ("en", "de"):
            with atomic_write([out / f"{split}.{language}"], "wb") as [file]:
                for prefix in texts[split]:
                    plain = Path(f"{prefix}.{language}")
                    with plain.open("rb") if plain.is_file() else gzip.open(f"{plain}.gz") as text:
                        shutil.copyfileobj(text, file)


def translate(stage: Stage, search: str, split: str) -> None:
    """Into the folder SEARCH, of the second test text SEARCH1, with its BLEU."""
    name = f"{search}{split.removeprefix('test')}"
    found = generate(stage, search, split, name, LANGUAGES)
    reference = str(stage.run.path / f"corpus/en-de/{split}.de")
    scores = ["sacrebleu", reference, "-i", str(found), "-m", "bleu", "-w", "2"]
    into(stage, f"{name}/bleu.json", *scores)


def generate(stage: Stage, search: str, split: str, name: str, languages: Sequence[str]) -> Path:
    """The translations of a split of the run's data, a line each: ``NAME/hypotheses.txt``."""
    run, out = stage.run.path, stage.folder / name
    log(
        stage, f"{name}/output.log", "fairseq-generate", str(run / "binary"), *PLUGIN,
        *SEARCHES[search], *languages, "--path", str(stage.folder / BEST), "--gen-subset", split,
        "--beam", "5", "--batch-size", "32", "--bpe", "sentencepiece", "--sentencepiece-model",
        str(run / "wordpieces/model.model"), "--results-path", str(out),
    )  # fmt: skip
    hypotheses(stage, f"{name}/generate-{split}.txt", f"{name}/hypotheses.txt")
    return out / "hypotheses.txt"


def compare(grid: Grid, tests: Sequence[str]) -> None:
    """Each seed's hypotheses against those of the first cell, among what has checksums."""
    for split in tests:
        for search in grid.searches:
            for seed in grid.seeds:
                name = f"{search}{split.removeprefix('test')}"
                files = [f"{cell}-{seed}/{name}/hypotheses.txt" for cell in grid.cells]
                commands.written(
                    grid.results / f"paired-{name}-{seed}.txt",
                    ["sacrebleu", f"corpus/en-de/{split}.de", "-m", "bleu", "--paired-bs",
                     "-f", "text", "-i", *files],
                    cwd=grid.run.path,
                )  # fmt: skip
    with atomic_write([grid.results / SUMS]) as [file]:
        file.write(checksums(grid.results))
