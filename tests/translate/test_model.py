"""What a translator gives its model to read."""

from pathlib import Path

import torch

from nmt_moe.corpus import wordpieces
from nmt_moe.translate.load import load
from tests.report.experts import CPU, write_checkpoint

POSITIONS = 60  # that the checkpoint's task allows


def test_the_tag_and_the_end_are_counted_among_the_positions(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, symbols=["<2xx>"])
    options = dict(beam=1, batch_size=8, max_pieces=150)
    translator = load(str(checkpoint), None, None, "xx", 0.2, 0.2, CPU, **options)
    [model], words = translator._models, translator._task.source_dictionary
    read: list[torch.Tensor] = []

    def note(module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        read.extend(kwargs["src_tokens"] if "src_tokens" in kwargs else args[0])

    model.encoder.register_forward_pre_hook(note, with_kwargs=True)
    sentence = " ".join(["the dog"] * 100)
    translator([sentence])
    parts = [line[line != words.pad()] for line in read]
    assert max(map(len, parts)) == POSITIONS  # as long as may be, and no longer
    assert all(words[line[0]] == "<2xx>" and line[-1] == words.eos() for line in parts)
    pieces = wordpieces.load(tmp_path / "sentencepiece.model").encode(sentence, out_type=str)
    assert sum(map(len, parts)) == len(pieces) + 2 * len(parts)
