"""The output of fairseq-train, shortened."""

from nmt_moe.runs.progress import follow

INNER = (
    '2026-01-01 10:00:00 | INFO | train_inner | {"epoch": 1, "update": 0.2, "loss": "9.1", '
    '"ppl": "300.5", "wps": "3637.4", "num_updates": "200"}\n'
)
VALID = (
    '2026-01-01 10:00:00 | INFO | valid | {"epoch": 1, "valid_loss": "7.5", "valid_ppl": "40.25"}\n'
)
EPOCH = (
    '2026-01-01 10:00:00 | INFO | train | {"epoch": 1, "train_loss": "8.0", "train_ppl": "99.123", '
    '"train_wps": "3000", "train_num_updates": "1250"}\n'
)


def test_figures_become_short_lines() -> None:
    assert list(follow([INNER, VALID, EPOCH])) == [
        "epoch 1: update 200, perplexity 300.50, 3,637 pieces/s",
        "epoch 1: validation perplexity 40.25",
        "epoch 1 done: update 1,250, perplexity 99.12, 3,000 pieces/s",
    ]


def test_errors_pass_and_chatter_does_not() -> None:
    chatter = ["2026 | INFO | fairseq.tasks.translation | [en] dictionary: 500 types\n", "{odd}\n"]
    errors = ["fairseq-train: error: unrecognized arguments: --x\n"]
    traceback = ["Traceback (most recent call last):\n", "  File x\n", "ValueError: no\n"]
    assert list(follow(chatter)) == []
    assert list(follow([*chatter, *errors])) == [
        "fairseq-train: error: unrecognized arguments: --x"
    ]
    assert len(list(follow(traceback))) == 3


def test_figures_that_are_missing_or_not_finite_do_not_stop_it() -> None:
    line = '{"epoch": 2, "update": 1.5, "ppl": "inf", "loss": "nan"}\n'
    assert list(follow([line])) == ["epoch 2: update ?, perplexity inf, ? pieces/s"]


def test_an_exception_that_python_ignores_is_left_out() -> None:
    traceback = ["Traceback (most recent call last):\n", "  File x\n", "ValueError: no\n"]
    ignored = ["Exception ignored in: <function __del__>\n", *traceback]
    assert len(list(follow([*ignored, INNER, "chatter\n"]))) == 1
    assert len(list(follow([*ignored, *traceback]))) == 3
