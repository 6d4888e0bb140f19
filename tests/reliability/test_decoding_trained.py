"""A trained model in float32 translates alike in any batch, order and number of processes.

Sums are rounded otherwise in another batch. So a translation can only be another one where two
candidates are within 1e-4 of each other; their scores are then.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from fairseq import checkpoint_utils
from fairseq_cli import generate
from hypothesis import given
from hypothesis import strategies as st

import nmt_moe.plugin  # noqa: F401 (registers the model)
from tests.reliability.forked import apart
from tests.reliability.searches import search, sentences
from tests.reliability.test_decoding import BEAM, DRAWN

pytestmark = pytest.mark.slow
Found = dict[int, tuple[float, str]]


@pytest.fixture(scope="module")
def model(trained: Path) -> tuple[Any, Any]:
    [model], _, task = checkpoint_utils.load_model_ensemble_and_task([str(trained)])
    return model.eval(), task


@DRAWN
@given(
    group=st.lists(sentences(), min_size=2, max_size=8),
    longer=sentences(shortest=15, longest=25),
    order=st.randoms(use_true_random=False),
)
def test_other_sentences_of_the_batch_change_nothing(model, tally, group, longer, order):
    model, task = model
    order.shuffle(group)
    found = search(task, model, [*group, longer], BEAM)
    for sentence, translations in zip(group, found, strict=False):
        [alone] = search(task, model, [sentence], BEAM)
        scores = [translation["score"].item() for translation in alone]
        assert [t["score"].item() for t in translations] == pytest.approx(scores, abs=1e-4)
        for one, other, score in zip(translations, alone, scores, strict=True):
            close = sum(abs(score - another) < 1e-4 for another in scores) > 1
            assert close or one["tokens"].tolist() == other["tokens"].tolist()
    tally(inputs=len(group))


def check_same(found: Found, expected: Found) -> None:
    assert found.keys() == expected.keys()
    for number, (score, text) in expected.items():
        assert found[number] == (pytest.approx(score, abs=1e-4), text)


def generated(data: Path, trained: Path, work: Path, *options: object) -> Found:
    common = ["--path", trained, "--cpu", "--beam", BEAM, "--required-batch-size-multiple", 1]
    apart(work / "log", generate.cli_main, [data, *common, *options, "--results-path", work])
    text = (work / "generate-test.txt").read_text()
    lines = re.findall(r"^H-(\d+)\t(\S+)\t(.*)$", text, re.MULTILINE)
    return {int(number): (float(score), text) for number, score, text in lines}


@pytest.mark.parametrize("task", ["translation", "gnmt_translation"])
def test_workers_and_processes_change_nothing(data, trained, tmp_path, tally, task):
    def found(name: str, *options: object) -> Found:
        return generated(data, trained, tmp_path / name, "--task", task, *options)

    alone = found("alone", "--batch-size", 1, "--num-workers", 0)
    assert len(alone) == 20 and len({text for _, text in alone.values()}) > 5
    for batch in (3, 20):
        for workers in (0, 1, 3):
            options = ["--batch-size", batch, "--num-workers", workers]
            check_same(found(f"{batch} {workers}", *options), alone)
            tally(inputs=20)
    for shards in (2, 3):
        shares = [
            found(
                f"{n} of {shards}",
                "--batch-size",
                4,
                "--distributed-world-size",
                shards,
                "--distributed-rank",
                n,
            )
            for n in range(shards)
        ]
        whole = {number: line for share in shares for number, line in share.items()}
        assert sum(map(len, shares)) == len(whole)
        check_same(whole, alone)
        tally(inputs=20)
