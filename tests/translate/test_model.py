"""What a translator gives its model to read."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.wordpieces import model as wordpieces
from nmt_moe.trained import load
from tests.report.experts import write_checkpoint

POSITIONS = 60  # that the checkpoint's task allows


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load(write_checkpoint(tmp_path_factory.mktemp("trained")))


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(beam=0), "beam must be at least 1, not 0"),
        (dict(beam=2.5), "beam must be a whole number, at least 1, not 2.5"),
        (dict(batch_size="8"), "batch_size must be a whole number, at least 1, not '8'"),
        (dict(max_pieces=0), "max_pieces must be at least 1, not 0"),
        (dict(gnmt_alpha=-1), "gnmt_alpha must be at least 0, not -1"),
        (dict(gnmt_beta=float("nan")), "gnmt_beta must be at least 0, not nan"),
    ],
    ids=str,
)
def test_a_number_out_of_range_is_refused(trained, options, message) -> None:
    with pytest.raises(UserError) as caught:
        trained.translator(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize("given", ["the dog", b"the dog", ["the dog", None], [["the", "dog"]], [1]])
def test_sentences_are_a_list_of_strings(trained, given) -> None:
    with pytest.raises(UserError, match="a translator takes a list of s"):
        trained.translator(beam=1)(given)
