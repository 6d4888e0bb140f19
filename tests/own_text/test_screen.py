"""The one screen of ``nmt-moe train``: what it shows of a training's lines."""

import io
import json

from nmt_moe.own_text.screen import Screen

HEAD = "2026-11-28 19:48:49 | "
INNER = {"epoch": 1, "loss": "7.1", "ppl": "90", "ups": "2.0", "num_updates": "50"}
VALID = {"epoch": 1, "valid_loss": "6", "valid_ppl": "12.345", "valid_num_updates": "50"}
COLLAPSE = "experts collapse in layer encoder.2 (3 of 4 without a token for 100 updates)"
LINES = [
    f"{HEAD}INFO | fairseq_cli.train | num. shared model params: 137,920 (num. trained: 137,920)",
    f"{HEAD}INFO | fairseq.tasks.translation | [en] dictionary: 300 types",
    f"{HEAD}WARNING | fairseq.trainer | something for developers",
    f"{HEAD}INFO | train_inner | {json.dumps(INNER)}",
    f"{HEAD}WARNING | nmt_moe.criterions.collapse | {COLLAPSE}",
    f"{HEAD}INFO | valid | {json.dumps(VALID | {'valid_bleu': '20.06'})}",
    f"{HEAD}INFO | train_inner | {json.dumps(INNER | {'num_updates': '60'})}",
    "fairseq-train: error: there is no room",
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(file: io.StringIO) -> str:
    screen = Screen(["training"], file)
    for line in screen.training([f"{line}\n" for line in LINES], 100):
        screen.say(line)
        screen._said = 0.0  # as if time had passed
    return file.getvalue()


def test_plain_lines() -> None:
    assert shown(io.StringIO()).splitlines() == [
        "  137,920 parameters",
        "  training: 50%, update 50 of at most 100, 0:25 left, 1:25 with all that follows",
        f"  warning: {COLLAPSE}",
        "  update 50: validation perplexity 12.35, BLEU 20.1",
        "  training: 50%, update 50 of at most 100, 0:25 left, 1:25 with all that follows, "
        "validation perplexity 12.35 at best, BLEU 20.1",
        "  fairseq-train: error: there is no room",
    ]


def test_a_terminal_has_one_line_that_changes() -> None:
    text = shown(Terminal())
    assert "\rtraining: 50%, update 50 of at most 100, 0:25 left" in text
    assert "\r\033[K  warning: experts collapse" in text  # it takes the place of the line
