"""Stock ``fairseq-generate`` and ``fairseq-interactive`` with a model of the plugin."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils

import nmt_moe.plugin  # noqa: F401 (registers the model)
from tests.commands import PLUGIN, Finished, run


@dataclass
class Translation:
    source: str
    text: str
    score: float
    """Mean log probability of the words and the end, to base 2."""
    positional: list[float]


def translations(finished: Finished) -> dict[int, Translation]:
    """The S-, H- and P- lines of either command by the sentence's number."""
    found: dict[int, dict[str, str]] = {}
    for kind, number, rest in re.findall(r"^([SHP])-(\d+)\t(.*)$", finished.stdout, re.MULTILINE):
        assert kind not in found.setdefault(int(number), {})
        found[int(number)][kind] = rest
    result = {}
    for number, lines in found.items():
        score, text = lines["H"].split("\t")
        positional = [float(value) for value in lines["P"].split()]
        result[number] = Translation(lines["S"], text, float(score), positional)
    return result


def command(name: str, data: Path, checkpoint: Path, *arguments: object, **options) -> Finished:
    model = ["--user-dir", PLUGIN, "--path", checkpoint, "--cpu"]
    return run(name, data, *model, *arguments, **options)


def generate(data: Path, checkpoint: Path, beam: int, batch: int) -> dict[int, Translation]:
    options = ["--beam", beam, "--batch-size", batch]
    return translations(command("fairseq-generate", data, checkpoint, *options))


def check_scores(checkpoint: Path, found: dict[int, Translation]) -> None:
    """Compare with one forward pass over source and translation, sentence by sentence."""
    [model], _, task = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)])
    model.eval()
    words, eos = task.target_dictionary, task.target_dictionary.eos()
    for translation in found.values():
        source = task.source_dictionary.encode_line(translation.source, add_if_not_exist=False)
        target = words.encode_line(translation.text, add_if_not_exist=False).long()
        previous = torch.cat([torch.tensor([eos]), target[:-1]])
        with torch.no_grad():
            logits, _ = model(source.long()[None], None, previous[None])
        scores = logits[0].log_softmax(-1).gather(1, target[:, None])[:, 0] / math.log(2)
        assert translation.positional == pytest.approx(scores.tolist(), abs=1e-4)
        assert translation.score == pytest.approx(scores.mean().item(), abs=1e-4)


@pytest.fixture(scope="module")
def beam_4(data: Path, trained: Path) -> dict[int, Translation]:
    return generate(data, trained, beam=4, batch=7)


def test_generated_scores_are_those_of_the_full_forward_pass(corpus, trained, beam_4):
    assert sorted(beam_4) == list(range(20))
    sources = (corpus / "test.a").read_text().splitlines()
    assert [beam_4[number].source for number in range(20)] == sources
    assert len({translation.text for translation in beam_4.values()}) > 5  # it has learnt
    check_scores(trained, beam_4)


def compare(one: dict[int, Translation], other: dict[int, Translation]) -> None:
    assert one.keys() == other.keys()
    for number, translation in one.items():
        assert other[number].text == translation.text
        assert other[number].score == pytest.approx(translation.score, abs=1e-5)


def test_interactive_equals_generate_and_answers_every_line(corpus, data, trained, beam_4):
    """One sentence at a time; an empty line is translated like any other."""
    lines = (corpus / "test.a").read_text().splitlines()
    text = "\n".join([*lines, "", "w3 unheard w5"]) + "\n"
    finished = command("fairseq-interactive", data, trained, "--beam", 4, input=text)
    found = translations(finished)
    assert sorted(found) == list(range(22))
    assert found[20].source == "" and found[21].source == "w3 <unk> w5"
    compare({number: found[number] for number in range(20)}, beam_4)


@pytest.mark.slow
@pytest.mark.parametrize("beam", [1, 4])
def test_batch_size_changes_nothing(data, trained, beam):
    one_by_one = generate(data, trained, beam, batch=1)
    assert len(one_by_one) == 20
    check_scores(trained, one_by_one)
    compare(one_by_one, generate(data, trained, beam, batch=20))


@pytest.mark.slow
def test_interactive_with_a_buffer_keeps_the_order(corpus, data, trained):
    text = (corpus / "test.a").read_text().replace("\n", "\n\n")
    options = ["--beam", 1, "--buffer-size", 16, "--batch-size", 8]
    found = translations(command("fairseq-interactive", data, trained, *options, input=text))
    assert [found[number].source for number in range(40)] == text.splitlines()
    check_scores(trained, found)
