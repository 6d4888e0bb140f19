"""What does not fit is refused in one line, as a user of the commands sees it."""

from pathlib import Path

import pytest
import torch

from tests.commands import PLUGIN, run, train

slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--moe-k", 5], "--moe-k 5 is more than --moe-experts 4"),
        (["--moe-load-weight", -1], "--moe-load-weight must be at least 0"),
        (["--bf16", "--amp"], "--bf16 and --amp are for the same: give --amp alone"),
        pytest.param(
            ["--moe-groups", 3], "--moe-experts 4 cannot be divided into --moe-groups 3", marks=slow
        ),
        pytest.param(["--moe-groups", 4], "--moe-k 2 counts at both levels", marks=slow),
        pytest.param(
            ["--moe-threshold-weight", -1], "--moe-threshold-weight must be at least 0", marks=slow
        ),
        pytest.param(
            ["--encoder-moe-after", 4], "'4': there is no layer 4, the encoder has", marks=slow
        ),
        pytest.param(["--decoder-moe-after", "1,x"], "is not a list of layer numbers", marks=slow),
        pytest.param(["--lstm-cells", 8], "--lstm-cells 8 is less than --dim 16", marks=slow),
        pytest.param(["--moe-gating", "best"], "invalid choice: 'best'", marks=slow),
        pytest.param(["--moe-experts", "many"], "invalid int value: 'many'", marks=slow),
        pytest.param(["--max-tokens", 4], "should not exceed max_tokens=4", marks=slow),
    ],
)
def test_options_that_do_not_fit(data, tmp_path, options, message):
    finished = train(data, tmp_path / "new", "--max-update", 1, *options, fails=True)
    assert message in finished.error()
    assert not list(tmp_path.glob("new/*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="half precision is fast here")
def test_a_precision_that_does_not_pay(data, tmp_path):
    finished = train(data, tmp_path, "--max-update", 1, "--fp16", "--fp16-no-flatten-grads")
    assert (
        "--fp16 is slower than float32 on a CPU: leave it out, or give"
        in finished.stdout + finished.stderr
    )


@slow
def test_a_data_folder_that_is_missing_or_empty(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "missing", tmp_path / "empty"):
        error = train(folder, tmp_path / "new", fails=True).error()
        assert "Could not infer language pair" in error or str(folder) in error


def interactive(data: Path, checkpoint: Path, *options: object, **more):
    model = ["--user-dir", PLUGIN, "--path", checkpoint, "--cpu", "--max-len-b", 20]
    return run("fairseq-interactive", data, *model, *options, **more)


def test_invalid_utf8_for_interactive(data, trained, tmp_path):
    text = tmp_path / "text"
    text.write_bytes(b"w1 w2\n\xff\xfe w3\n")
    finished = interactive(data, trained, "--input", text, fails=True)
    assert finished.error().startswith("the input is not UTF-8 text: ")


@slow
def test_a_line_of_ten_thousand_words_for_interactive(data, trained):
    """The lines before it are answered; then it says what it cannot take and how to go on."""
    text = "w1 w2\n" + "w1 " * 10_000 + "\nw3\n"
    finished = interactive(data, trained, input=text, fails=True)
    assert "H-0\t" in finished.stdout
    assert "skip-invalid-size-inputs-valid-test" in finished.error()

    finished = interactive(data, trained, "--skip-invalid-size-inputs-valid-test", input=text)
    assert "H-0\t" in finished.stdout and "H-1\t" not in finished.stdout
    assert "H-2\t" in finished.stdout  # the numbers say which line is missing


@slow
def test_empty_lines_in_the_corpus(tmp_path):
    """They are pairs like any other: an end of sentence on one side or on both."""
    (tmp_path / "train.a").write_text("w1 w2\n\nw3\n\n" * 5)
    (tmp_path / "train.b").write_text("w1 w2\nw5\n\n\n" * 5)
    prefixes = ["--trainpref", tmp_path / "train", "--validpref", tmp_path / "train"]
    languages = ["--source-lang", "a", "--target-lang", "b", "--joined-dictionary"]
    run("fairseq-preprocess", *languages, *prefixes, "--destdir", tmp_path / "bin")
    finished = train(tmp_path / "bin", tmp_path / "new", "--max-update", 4, "--batch-size", 4)
    [log] = finished.logs("train")
    assert float(log["train_bsz"]) == 4 and float(log["train_nll_loss"]) > 0
