"""The command line: ``python -m nmt_moe.report CHECKPOINT DATA [--out report.html]``."""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

from nmt_moe.common.errors import UserError, exit_code
from nmt_moe.common.files import beside, is_standard_output
from nmt_moe.common.ranges import Parser, integers
from nmt_moe.report.curves import read_runs
from nmt_moe.report.experts.analyse import analyse, open_model
from nmt_moe.report.experts.data import find
from nmt_moe.report.page import write_curves, write_report
from nmt_moe.trained.device import add_device, find_device
from nmt_moe.trained.model import TrainedModel

_USAGE = """python -m nmt_moe.report CHECKPOINT DATA [REFERENCES] [--out report.html]
       python -m nmt_moe.report --compare CHECKPOINT OTHER_CHECKPOINT [DATA [REFERENCES]]
       python -m nmt_moe.report --curves SAVE_DIR... [--out curves.html]"""
_DESCRIPTION = """\
What the experts of a trained model do on a text, as one HTML file: how much work each gets, in
which contexts, with which tokens, and what that says of the text.

DATA is a folder of fairseq-preprocess, or a file of text and then one with its references. Without
references the model translates the text itself. A language model reads one file. Text is cut into
pieces by the sentencepiece.model beside the checkpoint."""


def arguments() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = Parser(
        prog="python -m nmt_moe.report",
        usage=_USAGE,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="as above")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument(
        "--compare", action="store_true",
        help="two checkpoints side by side, such as with and without experts; the data is that "
        "of the first one's training where none is named",
    )  # fmt: skip
    modes.add_argument(
        "--curves", action="store_true",
        help="the curves of one or several trainings instead, from their logs",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="FILE",
        help="the page to write, - for standard output (default: report.html or curves.html; with "
        "--json none)",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true",
        help="print the content as JSON: an object, or a list with --compare and --curves",
    )  # fmt: skip
    parser.add_argument(
        "--split", choices=("train", "valid", "test"),
        help="of a folder (default: test if it is there, else valid)",
    )  # fmt: skip
    parser.add_argument(
        "--labels", type=Path, metavar="FILE",
        help="a label on each line, such as a domain, for each sentence of the data (default: "
        "test.domain beside the text test.en; in a folder the tags such as <2de> that sources "
        "begin with)",
    )  # fmt: skip
    parser.add_argument(
        "--sentence", action="append", default=[], metavar="TEXT", dest="sentences",
        help="a sentence to show beside a few of the data, 'source' or 'source ||| target'; may "
        "be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=integers(1), metavar="N", help="read the first N sentences only"
    )
    parser.add_argument(
        "--max-tokens", type=integers(1), default=4000, metavar="N",
        help="pieces on each side of a batch (default: 4000)",
    )  # fmt: skip
    parser.add_argument(
        "--source-lang", metavar="LANGUAGE", help="where neither checkpoint nor data says it"
    )
    parser.add_argument(
        "--target-lang", metavar="LANGUAGE",
        help="the same; of text, the language to translate into where the model knows several",
    )  # fmt: skip
    parser.add_argument(
        "--sentencepiece-model", type=Path, metavar="FILE",
        help="where it is not beside the checkpoint",
    )  # fmt: skip
    add_device(parser)
    return parser


def _contents(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The content of a report for each checkpoint."""
    checkpoints, data = args.paths[: 1 + args.compare], args.paths[1 + args.compare :]
    if len(checkpoints) < 1 + args.compare or len(data) > 2 or not (data or args.compare):
        raise UserError(f"{len(args.paths)} paths are too few or too many: see --help")
    device = find_device(args.device)
    contents = []
    for checkpoint in checkpoints:
        trained = open_model(
            checkpoint,
            source_lang=args.source_lang,
            target_lang=args.target_lang,
            sentencepiece_model=args.sentencepiece_model,
            data=data[0] if data and data[0].is_dir() else None,
            device=device,
        )
        data = data or [trained.training_data]
        contents.append(_content(trained, data, args))
    return contents


def _content(trained: TrainedModel, data: list[Path], args: argparse.Namespace) -> dict[str, Any]:
    found = find(data, args.split, trained)
    content = analyse(trained, found, args.labels, args.sentences, args.limit, args.max_tokens)
    if not content["layers"]:
        print(
            f"{trained.path} has no mixture of experts: the report shows the model, its "
            "perplexity, and its attention in a few sentences",
            file=sys.stderr,
        )
    attention = content["attention"]
    if attention is not None and attention["dead"]:
        print(f"warning: {trained.path}: {attention['verdict']}", file=sys.stderr)
    return content


def _summary(content: dict[str, Any]) -> str:
    layers, data, attention = content["layers"], content["data"], content["attention"]
    experts = sum(layer["experts"] for layer in layers)
    dead = sum(layer["dead"] for layer in layers)
    health = ""
    if attention is not None:
        health = (
            f"attention {'DEAD' if attention['dead'] else 'alive'} "
            f"({attention['entropy']:.2f} bits, {attention['top_share']:.0%} on the top "
            f"position, {attention['last_share']:.0%} on the last), "
        )
    return (
        f"{health}{len(layers)} layers, {experts:,} experts, {dead:,} of them unused, "
        f"{data['sentences']:,} sentences, perplexity {data['perplexity']:.2f}"
    )


def _report(args: argparse.Namespace, out: Path | None) -> None:
    contents = _contents(args)
    if args.json:
        print(json.dumps(contents if args.compare else contents[0]))
    if out:
        write_report(contents, out)
        _say(args, f"wrote {out}: {'; '.join(map(_summary, contents))}")


def _curves(args: argparse.Namespace, out: Path | None) -> None:
    runs = read_runs(args.paths)
    if args.json:
        print(json.dumps(runs))
    if out:
        write_curves(runs, out)
        _say(args, f"wrote {out}: {', '.join(run['name'] for run in runs)}")


def _say(args: argparse.Namespace, line: str) -> None:
    print(line, file=sys.stderr if args.json else beside(args.out))


def _out(args: argparse.Namespace) -> Path | None:
    """Where the page goes; None: nowhere. That it cannot is said before any work is done."""
    out = args.out or (None if args.json else Path(f"{'curves' if args.curves else 'report'}.html"))
    if args.json and is_standard_output(out):
        raise UserError(f"--json prints to standard output, too: change --out {out}")
    if out and not out.parent.is_dir():
        raise UserError(f"there is no folder {out.parent} for {out.name}: make it, or change --out")
    if out and out.is_dir():
        raise UserError(f"--out {out} is a folder: name a file in it, such as {out}/report.html")
    return out


def main(arguments_: list[str] | None = None) -> int:
    """The command line."""

    def run() -> None:
        args = arguments().parse_args(arguments_)
        (_curves if args.curves else _report)(args, _out(args))

    return exit_code(run)


if __name__ == "__main__":
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    sys.exit(main())
