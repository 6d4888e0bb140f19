"""Whatever a task, criterion or optimizer puts into a checkpoint: every command reads it again."""

import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
from fairseq.tasks.translation import TranslationTask

from tests.commands import PLUGIN, Finished
from tests.reliability import stages
from tests.reliability.children import in_a_child, nothing

BLEU = [
    *("--eval-bleu", "--eval-bleu-args", '{"beam": 2, "max_len_b": 9}'),
    *("--eval-bleu-detok", "moses", "--eval-bleu-remove-bpe", "--best-checkpoint-metric", "bleu"),
    *("--maximize-best-checkpoint-metric", "--criterion", "label_smoothed_cross_entropy"),
]


def train(text: Path, out: Path, *options: object, prepare=nothing) -> Finished:
    """A few updates of the small model."""
    words = stages.TRAIN.format(t=text).split()
    call = partial(stages.train, [*words, "--save-dir", str(out), *map(str, options)])
    return in_a_child(call, out, prepare)


def valid(finished: Finished) -> list[dict]:
    assert finished.code == 0, finished.stdout + finished.stderr
    return [json.loads(line) for line in re.findall(r"INFO:valid:(.*)", finished.stdout)]


@pytest.mark.slow
def test_fairseqs_own_command_for_iwslt(text: Path, tmp_path: Path) -> None:
    """BLEU is counted in numpy's arrays, and the options of sgd are in a Namespace."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    for folder in (run, whole):
        folder.mkdir()
        for name in ("dict.en.txt", "dict.de.txt", "sentencepiece.model"):
            shutil.copy(text / "run" / name, folder)
    sgd = [*BLEU, "--optimizer", "sgd", "--validate-interval-updates", 2]
    sgd += ["--save-interval-updates", 2]
    once = valid(train(text, whole, *sgd, "--max-update", 4))
    first = valid(train(text, run, *sgd, "--max-update", 2))
    second = valid(train(text, run, *sgd, "--max-update", 4))
    assert "valid_bleu" in once[0]
    figures = ("valid_loss", "valid_bleu", "valid_best_bleu", "valid_num_updates")
    got = [{name: line.get(name) for name in figures} for line in first + second]
    assert got == [{name: line.get(name) for name in figures} for line in once]
    assert stages.trained(run / "checkpoint_last.pt") == stages.trained(
        whole / "checkpoint_last.pt"
    )

    last, out = str(run / "checkpoint_last.pt"), str(tmp_path / "mean.pt")
    device, bin_ = ["--device", "cpu"], str(text / "pieces" / "bin")
    generate = [bin_, "--user-dir", str(PLUGIN), "--path", last, "--cpu", "--max-len-b", "9"]
    for main, words in (
        (stages.checkpoint, ["inspect", last]),
        (stages.checkpoint, ["inspect", last, "--json"]),
        (stages.checkpoint, ["average", last, str(run / "checkpoint_best.pt"), "--out", out]),
        (stages.checkpoint, ["inspect", out]),
        (stages.generate, generate),
        (stages.report, [last, bin_, "--limit", "5", *device, "--out", str(tmp_path / "r.html")]),
        (stages.translate, [last, *device, "--beam", "1", "--max-pieces", "9"]),
    ):
        ended = in_a_child(partial(main, words), tmp_path, stdin=text / "test.en")
        assert ended.code == 0, (words, ended.stdout + ended.stderr)


class Own:
    """Of a plugin, in the state of its task."""


def hold_it_from_the_start() -> None:
    TranslationTask.state_dict = lambda self: {"seen": {"so far": Own()}}  # type: ignore


def hold_it_later() -> None:
    """From the first validation on."""
    step = TranslationTask.valid_step

    def valid_step(self, *args):
        hold_it_from_the_start()
        return step(self, *args)

    TranslationTask.valid_step = valid_step  # type: ignore[method-assign]


@pytest.mark.parametrize("when", [hold_it_from_the_start, hold_it_later])
def test_what_nothing_could_read_is_refused_before_the_training_goes_on(
    text: Path, tmp_path: Path, when
) -> None:
    options = ["--max-update", 9, "--validate-interval-updates", 1, "--save-interval-updates", 1]
    ended = train(text, tmp_path, *options, prepare=when)
    error = ended.error()
    assert error.startswith("task_state/seen/so far of this training is an object of class ")
    assert "test_states.Own, with which no checkpoint could be read again" in error
    assert ("INFO:valid:" in ended.stdout) == (when is hold_it_later)
    assert not list(tmp_path.glob("checkpoint*"))
