"""What a translator gives its model to read."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nmt_moe.corpus.wordpieces import model as wordpieces
from nmt_moe.trained import load
from tests.report.experts import write_checkpoint

POSITIONS = 60  # that the checkpoint's task allows


def test_the_tag_and_the_end_are_counted_among_the_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = write_checkpoint(tmp_path, symbols=["<2xx>"])
    translator = load(checkpoint, target_lang="xx").translator(beam=1, batch_size=8)
    task, words = translator._task, translator._task.source_dictionary
    read: list[torch.Tensor] = []
    step = task.inference_step

    def noting(generator: Any, models: Any, sample: Any) -> Any:
        read.extend(sample["net_input"]["src_tokens"])
        return step(generator, models, sample)

    monkeypatch.setattr(task, "inference_step", noting)
    sentence = " ".join(["the dog"] * 100)
    translator([sentence])
    parts = [line[line != words.pad()] for line in read]
    assert max(map(len, parts)) == POSITIONS  # as long as may be, and no longer
    assert all(words[line[0]] == "<2xx>" and line[-1] == words.eos() for line in parts)
    pieces = wordpieces.load(tmp_path / "sentencepiece.model").encode(sentence, out_type=str)
    assert sum(map(len, parts)) == len(pieces) + 2 * len(parts)
