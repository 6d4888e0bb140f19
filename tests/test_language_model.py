"""Language models with fairseq's commands: train, resume, evaluate, continue a text."""

import math
import re
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils

import nmt_moe.plugin  # noqa: F401 (registers the model)
from tests.commands import PLUGIN, TRAINING, Finished, run

SENTENCES = ["--task", "language_modeling", "--sample-break-mode", "eos"]
SMALL = [
    *("--arch", "lstm_moe_lm_tiny", "--dim", "16", "--lstm-cells", "16"),
    *("--moe-experts", "4", "--moe-k", "2", "--moe-hidden-dim", "16"),
    *("--criterion", "moe_label_smoothed_cross_entropy"),
]


def train(data: Path, save_dir: Path, *arguments: object, task=SENTENCES, **more) -> Finished:
    """``fairseq-train`` of a small language model."""
    where = [data, "--user-dir", PLUGIN, "--save-dir", save_dir]
    return run("fairseq-train", *where, *SMALL, *TRAINING, *task, *arguments, **more)


def evaluate(data: Path, checkpoint: Path, *arguments: object, **options) -> Finished:
    model = ["--user-dir", PLUGIN, "--path", checkpoint, "--cpu", "--gen-subset", "test"]
    return run("fairseq-eval-lm", data, *model, *arguments, **options)


@pytest.fixture(scope="module")
def text(corpus: Path) -> Path:
    """The corpus' sentences with their words in order, so that there is something to learn."""
    folder = corpus / "lm"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        lines = (corpus / f"{split}.a").read_text().splitlines()
        ordered = [sorted(line.split(), key=lambda word: int(word[1:])) for line in lines]
        (folder / split).write_text("".join(" ".join(words) + "\n" for words in ordered))
    return folder


@pytest.fixture(scope="module")
def binary(text: Path) -> Path:
    prefixes = [f"--{split}pref={text / split}" for split in ("train", "valid", "test")]
    run("fairseq-preprocess", "--only-source", *prefixes, "--destdir", text / "bin")
    return text / "bin"


@pytest.fixture(scope="module")
def learned(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    """60 updates in one go: the command that ran, and the checkpoint."""
    folder = tmp_path_factory.mktemp("lm")
    finished = train(binary, folder, "--max-update", 60, "--lr", 0.02)
    return finished, folder / "checkpoint_last.pt"


def test_the_loss_falls_and_the_log_shows_the_balance(learned):
    logs = learned[0].logs("train_inner")
    assert len(logs) == 6
    assert float(logs[-1]["nll_loss"]) < 0.8 * float(logs[0]["nll_loss"])
    assert 1 <= float(logs[-1]["moe_decoder_1_load_max"]) <= 2  # 4 experts, k = 2
    for name in ("importance_cv", "load_cv", "unused"):
        assert f"moe_decoder_1_{name}" in logs[-1]


def test_perplexity_is_that_of_one_forward_pass_per_sentence(text, binary, learned):
    """With padding: seven sentences of different lengths in a batch."""
    checkpoint = learned[1]
    finished = evaluate(binary, checkpoint, *SENTENCES, "--batch-size", 7)
    found = re.search(
        r"Loss \(base 2\): (\S+), Perplexity: (\S+)", finished.stdout + finished.stderr
    )
    assert found, finished.stderr

    [model], _, task = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)])
    model.eval()
    bits, count = 0.0, 0
    for line in (text / "test").read_text().splitlines():
        target = task.dictionary.encode_line(line, add_if_not_exist=False).long()
        previous = torch.cat([target[-1:], target[:-1]])  # begins with an end of sentence
        with torch.no_grad():
            logits, _ = model(previous[None])
        scores = logits[0].log_softmax(1).gather(1, target[:, None])
        bits, count = bits - scores.sum().item() / math.log(2), count + len(target)
    assert float(found[1]) == pytest.approx(bits / count, abs=1e-4)
    assert float(found[2]) == pytest.approx(2 ** (bits / count), abs=0.006)


@pytest.mark.slow
def test_a_text_is_continued_with_the_scores_of_the_full_forward_pass(binary, learned):
    """Beginnings of different lengths in one batch, one of them empty."""
    model = ["--user-dir", PLUGIN, "--path", learned[1], "--cpu", "--task", "language_modeling"]
    search = ["--beam", 3, "--max-len-b", 20, "--buffer-size", 3, "--batch-size", 3]
    beginnings = ["w3 w4", "", "w1 w5 w6 w9"]
    given = "".join(line + "\n" for line in beginnings)
    finished = run("fairseq-interactive", binary, *model, *search, input=given)
    [lm], _, task = checkpoint_utils.load_model_ensemble_and_task([str(learned[1])])
    lm.eval()
    for number, beginning in enumerate(beginnings):
        [hypothesis] = re.findall(rf"^H-{number}\t\S+\t(.*)$", finished.stdout, re.MULTILINE)
        [positional] = re.findall(rf"^P-{number}\t(.*)$", finished.stdout, re.MULTILINE)
        assert hypothesis.startswith(beginning)
        target = task.dictionary.encode_line(hypothesis, add_if_not_exist=False).long()
        with torch.no_grad():
            logits, _ = lm(torch.cat([target[-1:], target[:-1]])[None])
        scores = logits[0].log_softmax(1).gather(1, target[:, None])[:, 0] / math.log(2)
        assert [float(score) for score in positional.split()] == pytest.approx(
            scores.tolist(), abs=1e-4
        )


@pytest.mark.slow
def test_generate_continues_the_first_words_of_a_sentence(text, binary, learned):
    model = ["--user-dir", PLUGIN, "--path", learned[1], "--cpu", *SENTENCES]
    options = ["--prefix-size", 2, "--beam", 3, "--batch-size", 6]
    multiple = ["--required-batch-size-multiple", 1]
    finished = run("fairseq-generate", binary, *model, *options, *multiple)
    found = dict(re.findall(r"^H-(\d+)\t\S+\t(.*)$", finished.stdout, re.MULTILINE))
    lines = (text / "test").read_text().splitlines()
    assert len(found) == len(lines)
    for number, line in enumerate(lines):
        assert found[str(number)].split()[:2] == line.split()[:2]


@pytest.mark.slow
def test_a_training_that_was_stopped_goes_on_bit_by_bit(binary, learned, tmp_path):
    for updates in (25, 60):
        train(binary, tmp_path, "--max-update", updates, "--lr", 0.02)
    paths = [tmp_path / "checkpoint_last.pt", learned[1]]
    again, straight = (torch.load(path, weights_only=True)["model"] for path in paths)
    assert again.keys() == straight.keys()
    assert all(torch.equal(again[name], straight[name]) for name in straight)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["none", "complete"])
def test_blocks_of_text_and_fairseqs_own_loss(binary, tmp_path, mode):
    options = ["--sample-break-mode", mode, "--tokens-per-sample", 16, "--lr", 0.02]
    plain = ["--criterion", "cross_entropy"] if mode == "complete" else []
    finished = train(binary, tmp_path, "--max-update", 40, *options, *plain)
    losses = [float(log["loss"]) for log in finished.logs("train_inner")]
    assert losses[-1] < 0.9 * losses[0]
    blocks = ["--sample-break-mode", mode, "--tokens-per-sample", 16]
    if mode == "none":
        blocks += ["--context-window", 8]
    finished = evaluate(binary, tmp_path / "checkpoint_last.pt", *blocks)
    assert "Perplexity: " in finished.stdout + finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["--moe-groups", 2, "--moe-experts", 8, "--moe-recompute"],
        ["--moe-gating", "strictly_balanced"],
        ["--feed-forward", "deep", "--layers", 3],
    ],
)
def test_other_layers_learn(binary, tmp_path, options):
    finished = train(binary, tmp_path, "--max-update", 40, "--lr", 0.02, *options)
    losses = [float(log["nll_loss"]) for log in finished.logs("train_inner")]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
def test_a_language_model_without_its_task(binary, tmp_path):
    finished = train(binary, tmp_path / "new", task=[], fails=True)
    wanted = "--arch lstm_moe_lm_tiny is a language model: it needs --task language_modeling"
    assert finished.error().strip() == wanted
    assert not list(tmp_path.glob("new/*"))


@pytest.mark.slow
def test_a_translation_model_as_a_language_model(data, binary, trained, tmp_path):
    finished = train(binary, tmp_path, "--arch", "lstm_moe_tiny", fails=True)
    wanted = "--arch lstm_moe_tiny is a translation model: it needs --task translation"
    assert finished.error().strip() == wanted
    finished = evaluate(binary, trained, *SENTENCES, fails=True)
    assert "is a translation model" in finished.error()
