"""Perplexity from the files of fairseq-generate, against a forward pass and fairseq-validate."""

import math
import re
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils

import nmt_moe.plugin  # noqa: F401 (registers the model)
from nmt_moe.common.errors import UserError
from nmt_moe.score.perplexity import read
from tests.commands import PLUGIN, run

SCORED = """\
2026 | INFO | a line of the log
S-1\tein Wort
T-1\tone word
H-1\t-1.5\tone word
D-1\t-1.5\tone word
P-1\t-1.0000 -2.0000 -1.0000 -2.0000
S-0\t
T-0\tx <<unk>>
H-0\t-0.30103\tx <unk>
D-0\t-0.30103\tx <unk>
P-0\t-0.6021 0.0000
Generate test with beam=5: BLEU4 = 100.00
"""
REFERENCES = ["x y", "one word"]


def written(folder: Path, text: str) -> Path:
    path = folder / "generate-test.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_sums_of_bits(tmp_path):
    found = read(written(tmp_path, SCORED), REFERENCES)
    bits = 1.5 * 4 + 0.30103 * 2  # the full means, not the rounded pieces
    assert (found.pieces, found.words) == (6, 6)
    assert found.bits == pytest.approx(bits)
    assert found.per_piece == found.per_word == pytest.approx(2 ** (bits / 6))
    # A word that the references have more: the same bits on seven words.
    assert read(written(tmp_path, SCORED), ["x y z", "one word"]).per_word == pytest.approx(
        2 ** (bits / 7)
    )


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="scores of 2 sentences, the test set has 3"):
        read(written(tmp_path, SCORED), [*REFERENCES, "more"])
    translated = SCORED.replace("D-1\t-1.5\tone", "D-1\t-1.5\tsome")
    with pytest.raises(UserError, match="sentence 1: these are scores of a translation"):
        read(written(tmp_path, translated), REFERENCES)
    with pytest.raises(UserError, match="scores of 0 sentences"):
        read(written(tmp_path, "nothing\n"), REFERENCES)


@pytest.mark.slow
def test_it_is_that_of_a_forward_pass_and_of_fairseq_validate(corpus, data, trained, tmp_path):
    where = ["--user-dir", PLUGIN, "--path", trained, "--cpu", "--required-batch-size-multiple", 1]
    scored = ["--score-reference", "--batch-size", 7, "--results-path", tmp_path]
    run("fairseq-generate", data, *where, *scored)
    references = (corpus / "test.b").read_text().splitlines()
    found = read(tmp_path / "generate-test.txt", references)

    [model], _, task = checkpoint_utils.load_model_ensemble_and_task([str(trained)])
    model.double().eval()
    bits, pieces = 0.0, 0
    for source, reference in zip(
        (corpus / "test.a").read_text().splitlines(), references, strict=True
    ):
        words, eos = task.target_dictionary, task.target_dictionary.eos()
        source_S = task.source_dictionary.encode_line(source, add_if_not_exist=False).long()
        target_T = words.encode_line(reference, add_if_not_exist=False).long()
        previous_T = torch.cat([torch.tensor([eos]), target_T[:-1]])
        with torch.no_grad():
            logits, _ = model(source_S[None], None, previous_T[None])
        scores_T = logits[0].log_softmax(-1).gather(1, target_T[:, None])
        bits -= scores_T.sum().item() / math.log(2)
        pieces += len(target_T)
    assert found.pieces == pieces
    assert found.bits == pytest.approx(bits, rel=1e-5)
    assert found.per_piece == found.per_word  # here a word is a piece

    subset = ["--task", "translation", "--valid-subset", "test", "--batch-size", 7]
    validated = run("fairseq-validate", data, *where, *subset)
    printed = re.search(r"nll_loss (\S+)", validated.stdout + validated.stderr)
    assert printed is not None, validated.stdout
    assert found.bits / found.pieces == pytest.approx(float(printed[1]), abs=1e-3)
