"""What the tests of several files share."""

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.checkpoint.test_parts import whole_state
from tests.conftest import Shared
from tests.reliability import stages
from tests.reliability.children import in_a_child


@pytest.fixture(scope="session")
def text(shared: Shared) -> Path:
    """What the stages read: a corpus, the same in wordpieces, checkpoints, and a trained model."""
    return shared("text", _prepare)


def _prepare(folder: Path) -> None:
    pieces = folder / "pieces"
    pieces.mkdir()
    stages.write_text(folder)
    torch.save(whole_state(), folder / "whole.pt")
    for main, line in (
        (stages.wordpieces, "train --vocabulary 60 --out {t}/wp {t}/train.en"),
        (stages.wordpieces, "encode --model {t}/wp.model --langs en de {t}/train {t}/pieces/train"),
        (stages.wordpieces, "encode --model {t}/wp.model --langs en de {t}/valid {t}/pieces/valid"),
        (stages.wordpieces, "encode --model {t}/wp.model --langs en de {t}/test {t}/pieces/test"),
        (
            stages.preprocess,
            "--srcdict {t}/wp.dict.txt --trainpref {t}/pieces/train --validpref {t}/pieces/valid "
            f"--testpref {{t}}/pieces/test {stages.BINARY} --destdir {{t}}/pieces/bin",
        ),
        (stages.train, f"{stages.TRAIN} --max-update 40 --save-dir {{t}}/run"),
        (stages.checkpoint, "split {t}/whole.pt --parts 2 --out {t}/part"),
    ):
        words = line.format(t=folder).split()
        finished = in_a_child(partial(main, words), folder)
        assert finished.code == 0, finished.stdout + finished.stderr
    for language in ("en", "de"):
        shutil.copy(pieces / "bin" / f"dict.{language}.txt", folder / "run")
    shutil.copy(folder / "wp.model", folder / "run" / "sentencepiece.model")
