"""``--task gnmt_translation`` in fairseq's own commands."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary

from nmt_moe import load
from nmt_moe.corpus import shortlist
from nmt_moe.corpus.shortlist import Shortlist
from tests.commands import PLUGIN, Finished, run, train


def command(name: str, data: Path, checkpoint: Path, *options: object, **more) -> Finished:
    model = ["--user-dir", PLUGIN, "--path", checkpoint, "--cpu", "--beam", 4]
    return run(name, data, *model, *options, **more)


def generate(data: Path, checkpoint: Path, *options: object, **more) -> Finished:
    batch = ["--batch-size", 7, "--required-batch-size-multiple", 1]
    return command("fairseq-generate", data, checkpoint, *batch, *options, **more)


GNMT = ["--task", "gnmt_translation"]


def lines(finished: Finished, kinds: str = "HDPA") -> list[str]:
    return re.findall(rf"^[{kinds}]-\d+\t.*$", finished.stdout, re.MULTILINE)


def test_interactive_with_a_length_weight_alone_divides_the_score(data, trained) -> None:
    text = "w1 w2 w3\n\nw4\n"
    plain = command("fairseq-interactive", data, trained, "--lenpen", 0, input=text)
    alpha = ["--gnmt-alpha", 1, "--gnmt-beta", 0, "--nbest", 4]
    scored = command("fairseq-interactive", data, trained, *GNMT, *alpha, input=text)
    found = [line.split("\t") for line in lines(scored, "H")]
    assert [number for number, _, _ in found] == ["H-0"] * 4 + ["H-1"] * 4 + ["H-2"] * 4
    for number, score, text in (line.split("\t") for line in lines(plain, "H")):
        [other] = [float(s) for n, s, t in found if (n, t) == (number, text)]
        assert other == pytest.approx(float(score) / ((6 + len(text.split())) / 6), abs=1e-5)


def test_negative_weights_are_one_line(data, trained) -> None:
    error = generate(data, trained, *GNMT, "--gnmt-beta", -1, fails=True).error()
    assert error.strip() == "--gnmt-beta must be at least 0, not -1.0"


def test_weights_in_int8(data, trained) -> None:
    """Scores of the same translations, which a first pass found, are a little different."""
    options = [*GNMT, "--score-reference"]
    whole, small = (lines(generate(data, trained, *options, *o), "H") for o in ([], ["--int8"]))
    assert len(whole) == len(small) == 20 and whole != small
    for one, other in zip(whole, small, strict=True):
        scores = [float(line.split("\t")[1]) for line in (one, other)]
        assert scores[0] == pytest.approx(scores[1], abs=0.05)


def test_int8_is_for_translating_alone(data, trained, tmp_path) -> None:
    into = tmp_path / "new"
    error = train(data, into, *GNMT, "--int8", fails=True).error()
    assert error == "--int8 is for translating: train without it, and give it to fairseq-generate"
    error = train(data, into, "--int8-weights", fails=True).error()
    assert error.startswith("a model in int8 is for translating only: train the one in float32")
    state = torch.load(trained)
    state["model"] = load(trained, int8=True).model.state_dict()
    torch.save(state, tmp_path / "small.pt")
    for option in ("--finetune-from-model", "--restore-file"):
        error = train(data, into, option, tmp_path / "small.pt", fails=True).error()
        assert "this model is in int8, for translating only: train the one in float32" in error


def same(found: list[str], expected: list[str]) -> None:
    """All words and, but for rounding, all scores; H and D have words after a score."""
    assert [re.sub(r"-\d+\.\d+", "SCORE", line) for line in found] == [
        re.sub(r"-\d+\.\d+", "SCORE", line) for line in expected
    ]
    scores = [[float(x) for x in re.findall(r"-\d+\.\d+", "\n".join(a))] for a in (found, expected)]
    assert scores[0] == pytest.approx(scores[1], abs=2e-4)


@pytest.mark.slow
def test_both_weights_0_print_what_fairseq_prints(data, trained) -> None:
    zeros = [*GNMT, "--gnmt-alpha", 0, "--gnmt-beta", 0, "--nbest", 4]
    ours = lines(generate(data, trained, *zeros))
    assert len(ours) == 20 * 4 * 3
    same(ours, lines(generate(data, trained, "--lenpen", 0, "--nbest", 4)))
    same(ours, lines(generate(data, trained, "--unnormalized", "--nbest", 4)))


@pytest.mark.slow
def test_options_of_fairseq_that_keep_working(data, trained) -> None:
    found = lines(generate(data, trained, *GNMT, "--print-alignment", "hard"), "HA")
    for line, alignment in zip(found[::2], found[1::2], strict=True):
        words = len(line.split("\t")[2].split())
        targets = [int(pair.split("-")[1]) for pair in alignment.split("\t")[1].split()]
        assert targets == list(range(words))

    prefixed = generate(data, trained, *GNMT, "--prefix-size", 1)
    wanted = re.findall(r"^T-(\d+)\t(\S+)", prefixed.stdout, re.MULTILINE)
    assert re.findall(r"^H-(\d+)\t\S+\t(\S+)", prefixed.stdout, re.MULTILINE) == wanted

    scored = generate(data, trained, *GNMT, "--score-reference")
    assert lines(scored, "HP") == lines(generate(data, trained, "--score-reference"), "HP")

    zeros = [*GNMT, "--gnmt-alpha", 0, "--gnmt-beta", 0]
    matched = [
        lines(generate(data, trained, *o, "--match-source-len"), "H")
        for o in (zeros, ["--lenpen", 0])
    ]
    assert matched[0] == matched[1]

    sampled = ["--sampling", "--nbest", 4, "--seed", 3]
    assert len(lines(generate(data, trained, *GNMT, *sampled), "H")) == 80


def test_a_shortlist(data, trained, tmp_path) -> None:
    """Each word goes with itself; all sentences of a batch share what is allowed."""
    table, words = tmp_path / "table", Dictionary.load(str(data / "dict.a.txt"))
    numbers = np.arange(len(words) + 1)
    shortlist.write(table, Shortlist(numbers[:4], numbers, numbers[:-1]), *[words.symbols] * 2)
    options = [*GNMT, "--shortlist", table]
    found = lines(command("fairseq-interactive", data, trained, *options, input="w1 w2 w3\n"), "H")
    assert set(found[0].split("\t")[2].split()) <= {"w1", "w2", "w3", "<unk>"}
    refused = generate(data, trained, *options, "--prefix-size", 1, fails=True)
    assert refused.error().startswith("--shortlist is for a plain beam search of one model")


@pytest.mark.slow
def test_training_with_the_task(data, tmp_path) -> None:
    train(data, tmp_path, *GNMT, "--max-update", 1)
    assert lines(generate(data, tmp_path / "checkpoint_last.pt", *GNMT, "--max-len-b", 9), "H")
    refused = generate(data, tmp_path / "checkpoint_last.pt", *GNMT, "--lenpen", 2, fails=True)
    assert refused.error().startswith("--lenpen 2 is fairseq's own length normalisation")
