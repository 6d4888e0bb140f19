"""What a user types of fairseq's commands: which sentences it takes, and what it shows."""

from pathlib import Path

import pytest
from fairseq import options

import nmt_moe.plugin  # noqa: F401  as --user-dir does
from tests.commands import PLUGIN, run, train
from tests.test_generation import generate


@pytest.mark.parametrize("command", ["training", "generation", "validation", "eval_lm"])
@pytest.mark.parametrize(("given", "number"), [([], 1), (["--required-batch-size-multiple=8"], 8)])
def test_default_of_every_command(command, given, number):
    parser = getattr(options, f"get_{command}_parser")()
    assert parser.parse_known_args(given)[0].required_batch_size_multiple == number


def sentences(data: Path, folder: Path, *arguments: object) -> float:
    """How many a validation had, in one batch of all 20."""
    finished = train(data, folder, "--batch-size", 23, *arguments)
    return float(finished.logs("valid")[-1]["valid_bsz"])


def test_no_sentence_is_left_out(data, trained, tmp_path):
    assert sentences(data, tmp_path, "--max-update", 1) == 20
    assert len(generate(data, trained, beam=1, batch=23)) == 20


@pytest.mark.slow
def test_a_training_keeps_the_batches_it_was_begun_with(data, tmp_path):
    """A number that was given is kept, also where the same training goes on without it, as those
    do that are older than the plugin's default."""
    given = ["--required-batch-size-multiple", 8]
    assert sentences(data, tmp_path, "--max-update", 2, *given) == 16
    assert sentences(data, tmp_path, "--max-update", 3) == 16
    assert sentences(data, tmp_path, "--max-update", 4, "--required-batch-size-multiple=1") == 20


def test_help_shows_the_options_of_what_is_chosen():
    """With their ranges, and before anything else is looked at, such as the data's folder."""
    chosen = ["--arch", "lstm_moe_tiny", "--criterion", "moe_label_smoothed_cross_entropy"]
    chosen += ["--optimizer", "moe_adam", "--task", "gnmt_translation"]
    shown = run("fairseq-train", "--user-dir", PLUGIN, *chosen, "--help").stdout
    words = " ".join(shown.split())
    for option, its_range in {
        "--moe-experts MOE_EXPERTS": "experts in each MoE layer (at least 1)",
        "--dropout DROPOUT": "MoE layer (at least 0 and less than 1)",
        "--moe-load-weight MOE_LOAD_WEIGHT": "in the training loss (at least 0)",
        "--gnmt-beta GNMT_BETA": "no attention was on (at least 0)",
        "--max-update MAX_UPDATE": "force stop training at specified update",
    }.items():
        assert option in words and its_range in words


def test_help_and_an_error_without_an_architecture():
    plugin = ["fairseq-train", "--user-dir", PLUGIN]
    assert "--max-update MAX_UPDATE" in run(*plugin, "--help").stdout
    assert run(*plugin, "data", fails=True).error().startswith("--arch is missing")
