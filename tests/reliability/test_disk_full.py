"""A full disk at each stage: one line that says so, what was there before is whole, and go on."""

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq_cli import preprocess as fairseq_preprocess

from nmt_moe import errors
from nmt_moe.checkpoint.__main__ import main as checkpoint
from nmt_moe.checkpoint.convert import split
from nmt_moe.corpus.clean.__main__ import main as clean
from nmt_moe.corpus.monolingual import main as monolingual
from nmt_moe.corpus.multi30k import main as multi30k
from nmt_moe.corpus.phrasebook.__main__ import main as phrasebook
from nmt_moe.corpus.wordpieces import main as wordpieces
from nmt_moe.report.__main__ import main as report
from nmt_moe.score.__main__ import main as score
from tests.checkpoint.test_parts import whole_state
from tests.commands import PLUGIN
from tests.conftest import WORDS
from tests.reliability.disk import PAGE, Disk, in_a_child, small_disk
from tests.tally import Tally

ROOM = 16 << 20  # more than all need
PAIRS = 3000


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with which each stage writes more than a page, its wordpieces, and checkpoints."""
    folder = tmp_path_factory.mktemp("text")
    lines = [" ".join(WORDS[(n * k) % 20] for k in range(1, 9)) + f" {n}" for n in range(PAIRS)]
    for name in ("train", "valid", "test", "val", "test_2016_flickr"):
        kept = lines if name == "train" else lines[:100]
        for language, end in (("en", "."), ("de", " !")):
            (folder / f"{name}.{language}").write_text("".join(f"{x}{end}\n" for x in kept))
    (folder / "book.txt").write_text("".join(f"{line}\n" for line in lines))
    learn = ["train", "--vocabulary", "60", "--out", f"{folder}/wp", f"{folder}/train.en"]
    # In a child: sentencepiece does not outlive a fork.
    assert in_a_child(lambda: wordpieces(learn), folder).code == 0
    torch.save(whole_state(), folder / "whole.pt")
    split(f"{folder}/whole.pt", 2, f"{folder}/part")
    figures = '{"epoch": 1, "update": 0.5, "loss": "9.1", "ppl": "5.2", "num_updates": "10"}'
    (folder / "train.log").write_text(f"2026-01-01 00:00:00 | INFO | train_inner | {figures}\n")
    return folder


def preprocess(arguments: list[str]) -> None:
    """``fairseq-preprocess`` as the recipes call it."""
    for left in Path(arguments[-1]).glob("dict.*"):
        left.unlink()
    sys.argv = ["fairseq-preprocess", *arguments]
    errors.show_in_one_line()
    fairseq_preprocess.cli_main()


BINARY = "--joined-dictionary --source-lang en --target-lang de --workers 2 --user-dir"
# The command and its arguments, with {t} for the text and {o} for the output folder.
STAGES: dict[str, tuple[Callable[..., Any], str]] = {
    "phrasebook": (
        phrasebook,
        "--target de --train 2000 --valid 20 --test 20 --seed 1 --out {o}",
    ),
    "multi30k": (multi30k, "{t} --target de --out {o}"),
    "monolingual": (monolingual, "{t}/book.txt --valid 9 --test 9 --out {o}"),
    "clean": (
        clean,
        "--langs en de --workers 2 --report {o}/report.json --out {o}/train {t}/train",
    ),
    "wordpieces train": (wordpieces, "train --vocabulary 300 --out {o}/model {t}/train.en"),
    "wordpieces encode": (
        wordpieces,
        "encode --model {t}/wp.model --langs en de {t}/train {o}/train",
    ),
    "preprocess": (
        preprocess,
        f"--srcdict {{t}}/wp.dict.txt --trainpref {{t}}/train {BINARY} {PLUGIN} --destdir {{o}}",
    ),
    "average": (checkpoint, "average {t}/whole.pt {t}/whole.pt --out {o}/mean.pt --force"),
    "split": (checkpoint, "split {t}/whole.pt --parts 2 --out {o}/new --force"),
    "merge": (checkpoint, "merge {t}/part --out {o}/merged.pt --force"),
    "score": (score, "{t}/valid.en {t}/valid.de --target-lang de --json {o}/score.json"),
    "curves": (report, "--curves {t} --out {o}/curves.html"),
}


def contents(folder: Path) -> dict[str, bytes]:
    """The files, without logs, in which is the time of day."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def pages(files: dict[str, bytes]) -> int:
    """The bytes that the files take."""
    return sum(-(-len(content) // PAGE) * PAGE for content in files.values())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", ROOM) as disk:
        yield disk


@pytest.mark.parametrize("name", STAGES)
def test_stage(
    name: str,
    text: Path,
    tmp_path: Path,
    disk: Disk,
    tally: Tally,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Less and less is missing; then there is room for all, and then too little once more."""
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=1))  # the name of a split
    main, line = STAGES[name]

    def run(out: Path) -> Any:
        out.mkdir(exist_ok=True)
        words = [word.format(t=text, o=out) for word in line.split()]
        return in_a_child(lambda: main(words), tmp_path, disk.limit)

    def fails(share: float) -> None:
        disk.resize(int(share * size) + held)
        finished = run(out)
        disk.resize(ROOM)
        printed = finished.stdout + finished.stderr
        assert finished.code == 1 and "Traceback" not in printed, printed
        [said] = [line for line in finished.stderr.splitlines() if "error: " in line]
        assert said.startswith("error: ") and "make room" in said
        assert str(out) in said or main is preprocess
        left = [path for path in out.rglob("*") if path.name.endswith((".draft", ".tmp"))]
        assert not left
        tally(faults=1)

    finished = run(tmp_path / "whole")
    assert finished.code == 0, finished.stderr
    want = contents(tmp_path / "whole")
    size = pages(want) if disk.mounted else max(map(len, want.values()))
    out, held = disk.folder / "out", 0
    for share in (0.0, 0.3, 0.6, 0.9):
        fails(share)
    finished = run(out)
    assert finished.code == 0, finished.stderr
    lost = contents(out) != want
    # fairseq-preprocess writes over what is there, which is why the recipes have stages.
    if not lost and main is not preprocess:
        held = size if disk.mounted else 0
        fails(0.5)
        lost = contents(out) != want
    tally(losses=int(lost))
    assert not lost
