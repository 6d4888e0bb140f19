"""The command lines of fairseq: a default that loses no sentence, and a help that shows all."""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import integers, name_of, numbers
from nmt_moe.fairseq_fixes.fix import Fix

MULTIPLE = ("--required-batch-size-multiple", "dataset.required_batch_size_multiple")
"""Its names, the second one Hydra's."""
_NUMBERS = {
    "seed": integers(0, 2**32 - 1),
    **dict.fromkeys(["num_workers", "num_workers_valid"], integers(0)),
    **dict.fromkeys(["required_batch_size_multiple", "beam", "nbest"], integers(1)),
    # By these fairseq divides: at a line of the log, or when the first epoch is over.
    **dict.fromkeys(["log_interval", "save_interval", "validate_interval"], integers(1)),
    # With others the average leaves the weights, or the target is taught less than other words.
    **{"ema_decay": numbers(0, 1, exclusive_high=True), "label_smoothing": numbers(0, 1)},
}
"""Numbers of fairseq's that are noticed late, with a traceback, or never."""
# What fairseq raises where one is missing.
_MISSING: dict[tuple, str] = {(): "--arch", (None,): "--task"}
_SUCH = {"--arch": "lstm_moe_tiny", "--task": "translation"}


def given(option: str) -> bool:
    """Whether this command was given an option by the user."""
    return any(one.split("=")[0].lstrip("+") == option for one in sys.argv[1:])


def _check(args: argparse.Namespace) -> None:
    for name, allowed in _NUMBERS.items():
        value = getattr(args, name, None)
        if value is not None and value not in allowed:
            raise UserError(f"{name_of(name)} {allowed.refusal(value)}")


def _align(args: argparse.Namespace) -> None:
    """``--replace-unk`` needs alignments; without a file the words are the source's."""
    replaced = getattr(args, "replace_unk", None)
    if replaced is not None:
        args.replace_unk = replaced.removeprefix("@@ ")  # fairseq's own in place of a file
        args.print_alignment = args.print_alignment or "hard"


def _helpful(parse: Callable[..., Any]) -> Callable[..., Any]:
    def parse_args_and_arch(
        parser: argparse.ArgumentParser,
        input_args: list[str] | None = None,
        parse_known: bool = False,
        suppress_defaults: bool = False,
        modify_parser: Callable[[argparse.ArgumentParser], None] | None = None,
    ) -> Any:
        words = sys.argv[1:] if input_args is None else input_args
        if "--sacrebleu" in words and not given("--scoring"):  # fairseq forgets it
            words = input_args = [*words, "--scoring", "sacrebleu"]
        rest = [word for word in words if word not in ("-h", "--help")]
        times = 0

        def show(parser: argparse.ArgumentParser) -> None:
            """fairseq calls it before and after it has added the options of these parts."""
            nonlocal times
            times += 1
            if modify_parser is not None:
                modify_parser(parser)
            if times == 2:
                parser.print_help()
                parser.exit()

        try:
            if len(rest) < len(words):
                parse(parser, rest, modify_parser=show)
            parsed = parse(parser, input_args, parse_known, suppress_defaults, modify_parser)
        except (RuntimeError, KeyError) as error:
            option = _MISSING.get(error.args)
            if option is None:
                raise
            if len(rest) < len(words):  # what there is without it
                parser.print_help()
                parser.exit()
            raise UserError(
                f"{option} is missing: name one, such as {option} {_SUCH[option]}"
            ) from None
        _check(parsed[0] if parse_known else parsed)
        _align(parsed[0] if parse_known else parsed)
        return parsed

    return parse_args_and_arch


FIXES = (
    Fix(
        "fairseq.options:DatasetConfig",
        lambda config: partial(config, required_batch_size_multiple=1),
        "Batches need not have a multiple of 8 sentences, by default: fairseq would leave out the "
        "longest ones of a set, up to seven, which do not fill a batch.",
    ),
    Fix(
        "fairseq.options:parse_args_and_arch",
        _helpful,
        "--help also shows the options of the --arch, --task, --criterion, --optimizer and so on "
        "that are given beside it, with their ranges; a wrong number is refused in one line; "
        "--sacrebleu and --replace-unk have their effect.",
    ),
)
