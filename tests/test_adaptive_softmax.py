"""Commands with an adaptive softmax: training, resuming, scores, and options it needs."""

from pathlib import Path
from typing import Any

import pytest

from nmt_moe.score.perplexity import read
from tests.commands import PLUGIN, TINY, TRAINING, Finished, run
from tests.test_generation import generate

CUTOFF = ["--adaptive-softmax-cutoff", "6,12"]
ADAPTIVE = [*CUTOFF, "--adaptive-softmax-factor", 2, "--criterion", "adaptive_loss"]


def train(data: Path, save_dir: Path, *options: object, **more: Any) -> Finished:
    where = ["--user-dir", PLUGIN, "--save-dir", save_dir]
    model = TINY[: TINY.index("--criterion")]
    return run("fairseq-train", data, *where, *model, *TRAINING, *options, **more)


@pytest.fixture(scope="module")
def adaptive(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was resumed."""
    folder = tmp_path_factory.mktemp("adaptive")
    options = [*ADAPTIVE, "--optimizer", "moe_adam", "--lr", 0.02]
    begun = train(data, folder, *options, "--max-update", 10)
    assert begun.logs("train_inner")[0]["moe_load_loss"]
    train(data, folder, *options, "--max-update", 40)
    return folder / "checkpoint_last.pt"


@pytest.mark.slow
def test_the_loss_is_that_of_the_scores(corpus, data, adaptive, tmp_path):
    where = ["--user-dir", PLUGIN, "--path", adaptive, "--cpu", "--batch-size", 7]
    scored = ["--score-reference", "--results-path", tmp_path, "--gen-subset", "valid"]
    run("fairseq-generate", data, *where, *scored)
    references = (corpus / "valid.b").read_text().splitlines()
    found = read(tmp_path / "generate-valid.txt", references)
    valid = run("fairseq-validate", data, *where, "--task", "translation", "--log-format", "json")
    assert float(valid.logs("valid")[-1]["valid_ppl"]) == pytest.approx(found.per_piece, abs=0.011)
    best, greedy = (generate(data, adaptive, beam=beam, batch=7) for beam in (4, 1))
    assert all(best[n].score >= greedy[n].score - 1e-4 for n in best) and len(best) == 20


def test_bfloat16(data, tmp_path):
    finished = train(data, tmp_path, *ADAPTIVE, "--bf16", "--max-update", 20)
    losses = [float(log["loss"]) for log in finished.logs("train_inner")]
    assert losses[1] < losses[0] < 6


def test_options_that_need_each_other(data, tmp_path):
    wrong = train(data, tmp_path, *CUTOFF, fails=True).error()
    assert "needs --criterion adaptive_loss, not cross_entropy" in wrong
    wrong = train(data, tmp_path, "--criterion", "adaptive_loss", fails=True).error()
    assert "give its --adaptive-softmax-cutoff" in wrong
