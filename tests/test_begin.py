"""What a training could only find out after hours, or never, is refused before its first update."""

import argparse
import logging
import shutil
from pathlib import Path

import pytest
from fairseq import options
from fairseq.data import encoders  # noqa: F401  registers the tokenizers

import nmt_moe.plugin  # noqa: F401  as --user-dir does
from nmt_moe.common.errors import UserError
from tests.commands import PLUGIN, run, train

ROOT = Path(__file__).resolve().parents[1]


def parse(*given: str, data: str = "data") -> argparse.Namespace:
    words = [data, "--arch", "lstm_moe_tiny", *given]
    return options.parse_args_and_arch(options.get_training_parser(), words)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--eval-bleu --eval-bleu-args {beam:2}", "--eval-bleu-args must be JSON such as"),
        ("--eval-bleu --eval-bleu-args [2]", "--eval-bleu-args must be JSON such as"),
        ("--eval-bleu --eval-bleu-detok-args {", "--eval-bleu-detok-args must be JSON such as"),
        ('--eval-bleu --eval-bleu-args {"beem":2}', "unknown 'beem': did you mean beam?"),
        ('--eval-bleu --eval-bleu-args {"beam":"2"}', "beam must be a number, not '2'"),
        ('--eval-bleu --eval-bleu-args {"beam":0}', "beam must be at least 1, not 0"),
        ("--eval-bleu --eval-bleu-detok mose", "unknown 'mose': did you mean moses?"),
        ("--patience 2 --disable-validation", "--patience goes by the validations"),
        ("--load-alignments", "has no alignments of train; give fairseq-preprocess"),
        (
            "--criterion label_smoothed_cross_entropy_with_alignment",
            "learns from alignments: give --load-alignments",
        ),
        (
            "--lr-scheduler reduce_lr_on_plateau --disable-validation",
            "--lr-scheduler reduce_lr_on_plateau goes by",
        ),
        ("--criterion adaptive_loss", "needs an adaptive softmax"),
        ("--tensorboard-logdir {folder}/file/x", "cannot be written"),
        ("--save-interval 0", "--save-interval must be at least 1, not 0"),
        ("--validate-interval 0", "--validate-interval must be at least 1, not 0"),
        ("--log-interval 0", "--log-interval must be at least 1, not 0"),
        ("--seed -1", "--seed must be at least 0 and at most 4294967295, not -1"),
        ("--num-workers -1", "--num-workers must be at least 0, not -1"),
        ("--store-ema --ema-decay 2", "--ema-decay must be at least 0 and less than 1, not 2"),
        (
            "--criterion label_smoothed_cross_entropy --label-smoothing 1.5",
            "--label-smoothing must be at least 0 and at most 1, not 1.5",
        ),
    ],
)
def test_options_that_a_training_cannot_follow(tmp_path, given, message):
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as refused:
        parse(*given.replace("{folder}", str(tmp_path)).split())
    assert message in str(refused.value)


@pytest.mark.parametrize("given", ["", "--eval-bleu --eval-bleu-args {} --patience 3"])
def test_options_that_it_can(given):
    assert parse(*given.split()).arch == "lstm_moe_tiny"


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("--best-checkpoint-metric bleu", "add --maximize-best-checkpoint-metric"),
        ("--maximize-best-checkpoint-metric", "leave out --maximize-best-checkpoint-metric"),
    ],
)
def test_a_metric_the_wrong_way_round_is_said(caplog, given, hint):
    with caplog.at_level(logging.WARNING):
        parse(*given.split())
    assert hint in caplog.text
    caplog.clear()
    parse("--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric")
    assert not caplog.text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--best-checkpoint-metric", "bleu"], "--best-checkpoint-metric bleu needs --eval-bleu"),
        (["--best-checkpoint-metric", "nll_los"], ", nll_loss, ppl"),
        (["--restore-file", "{folder}/checkpoint_lst.pt"], "did you mean {folder}/checkpoint_"),
        (["--target-lang", "xx"], "holds a-b, name one of these"),
        (["--restore-file", "none.pt"], "no --restore-file none.pt: to begin anew, leave it out"),
    ],
)
def test_refused_before_the_first_update(data, tmp_path, given, message):
    (tmp_path / "checkpoint_last.pt").touch()
    folder = str(tmp_path)
    given = [word.replace("{folder}", folder) for word in given]
    finished = train(data, tmp_path / "new", "--max-update", 1, *given, fails=True)
    assert message.replace("{folder}", folder) in finished.error()
    assert "begin training epoch" not in finished.stdout


def test_a_language_that_is_missing_is_the_other_one_of_the_data(data):
    for given in ("--source-lang b", "--target-lang a"):
        args = parse(*given.split(), data=str(data))
        assert (args.source_lang, args.target_lang) == ("b", "a")


@pytest.mark.slow
def test_a_metric_that_exists_chooses_the_best(data, tmp_path):
    bleu = ["--eval-bleu", "--eval-bleu-args", '{"max_len_b": 10}', "--best-checkpoint-metric"]
    high = "--maximize-best-checkpoint-metric"
    finished = train(data, tmp_path / "bleu", "--max-update", 2, *bleu, "bleu", high)
    assert "valid_bleu" in finished.logs("valid")[-1]
    for metric in ("ppl", "moe_encoder_2_load_cv"):
        given = ["--best-checkpoint-metric", metric]
        train(data, tmp_path / metric, "--max-update", 2, *given)
        assert (tmp_path / metric / "checkpoint_best.pt").exists()


@pytest.mark.parametrize("where", ["clone", pytest.param("link", marks=pytest.mark.slow)])
def test_user_dir_that_is_not_the_plugin(data, tmp_path, where):
    """fairseq would import the folder around it, and know none of its models."""
    folder = tmp_path / "clone"
    if where == "clone":
        (folder / "nmt_moe").mkdir(parents=True)
        shutil.copytree(ROOT / "tasks", folder / "tasks")
    if where == "link":
        folder = tmp_path / "moe"
        folder.symlink_to(PLUGIN)
    command = ["fairseq-train", data, "--user-dir", folder, "--arch", "lstm_moe"]
    finished = run(*command, fails=True, fresh=where == "link")
    error = finished.error()
    assert error.startswith(f"--user-dir {folder} names" if where == "clone" else "--user-dir must")
    assert str((folder if where == "clone" else ROOT) / "nmt_moe") in error


@pytest.mark.slow
def test_a_checkpoint_needs_its_task(data, trained):
    given = ["--user-dir", PLUGIN, "--path", trained, "--cpu", "--batch-size", 20]
    error = run("fairseq-validate", data, *given, fails=True).error()
    assert error == "--task is missing: name one, such as --task translation"
    run("fairseq-validate", data, *given, "--task", "translation")
