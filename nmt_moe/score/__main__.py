"""``python -m nmt_moe.score``: all figures of a translation, each with what it is."""

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nmt_moe.common.errors import UserError, exit_code
from nmt_moe.common.files import atomic_write, beside
from nmt_moe.common.lines import read_lines
from nmt_moe.common.ranges import Parser, integers
from nmt_moe.score import perplexity, writing
from nmt_moe.score.bleu import measures


def _arguments() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m nmt_moe.score",
        description="BLEU and chrF of detokenised text, and BLEU of tokenised text as Moses' "
        "multi-bleu.perl computes it, for comparison with papers that did so; each with its "
        "signature. For German also with words split at hyphens, as papers on WMT'14 have it.",
    )
    parser.add_argument(
        "hypotheses", type=Path, metavar="HYPOTHESES", help="translations, detokenised, one a line"
    )
    parser.add_argument("reference", type=Path, metavar="REFERENCE", help="the same by people")
    parser.add_argument(
        "--target-lang",
        required=True,
        metavar="LANGUAGE",
        help="such as de or zh_TW: says how to tell its words apart",
    )
    parser.add_argument("--lowercase", action="store_true", help="make no difference of case")
    parser.add_argument(
        "--normalise", action="store_true",
        help="of tokenised text, first normalise punctuation as Moses does, on both sides",
    )  # fmt: skip
    parser.add_argument(
        "--against", type=Path, metavar="FILE",
        help="hypotheses of another system, to compare with by paired bootstrap",
    )  # fmt: skip
    parser.add_argument(
        "--resamples", type=integers(1), default=1000, metavar="N",
        help="of the paired bootstrap (default: 1000)",
    )  # fmt: skip
    parser.add_argument(
        "--reference-scores", type=Path, metavar="FILE",
        help="what fairseq-generate --score-reference wrote, generate-test.txt: for the perplexity",
    )  # fmt: skip
    parser.add_argument("--title", help="what is scored, for the first line")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write all figures there, too; -: print them instead",
    )
    return parser


def figures(args: argparse.Namespace) -> dict[str, Any]:
    """All figures, under the names that ``--json`` has.

    Raises:
        UserError: files that do not belong together.
    """
    reference = list(read_lines(args.reference))
    if not reference:
        raise UserError(f"{args.reference} is empty: there is nothing to score")
    hypotheses = _lines(args.hypotheses, args.reference, len(reference))
    chosen = list(measures(args.target_lang, args.lowercase, args.normalise))
    differences = writing.differences(hypotheses, reference)
    if counts := [
        f"{name} in {lines:,} of {len(reference):,} lines" for name, lines in differences
    ]:
        print(
            f"warning: the same words of {args.hypotheses} and {args.reference} are written "
            f"{', '.join(counts)}: they count as different words",
            file=sys.stderr,
        )
    found = {
        "title": args.title or str(args.hypotheses),
        "hypotheses": str(args.hypotheses),
        "reference": str(args.reference),
        "sentences": len(reference),
        "scores": [asdict(measure.score(hypotheses, reference)) for measure in chosen],
    }
    if args.reference_scores:
        found["perplexity"] = perplexity.read(args.reference_scores, reference).as_dict()
    if args.against:
        other = _lines(args.against, args.reference, len(reference))
        found["comparison"] = {
            "against": str(args.against),
            "resamples": args.resamples,
            "scores": [
                asdict(measure.compare(hypotheses, other, reference, args.resamples))
                for measure in chosen
            ],
        }
    return found


def _lines(path: Path, reference: Path, number: int) -> list[str]:
    lines = list(read_lines(path))
    if len(lines) != number:
        raise UserError(
            f"{path} has {len(lines):,} lines but {reference} has {number:,}: line n of one must "
            "be the translation of what line n of the other is"
        )
    return lines


def table(found: dict[str, Any]) -> Iterator[str]:
    """The figures for people, line by line."""
    yield f"{found['title']}, {found['sentences']:,} sentences"
    for score in found["scores"]:
        yield f"{_name(score)}: {score['score']:.2f}   {score['signature']}"
    ppl = found.get("perplexity")
    if ppl:
        yield (
            f"perplexity of the reference: {ppl['per_piece']:.2f} per wordpiece ({ppl['pieces']:,} "
            f"of this model's), {ppl['per_word']:.2f} per word ({ppl['words']:,}), ends of "
            "sentences included"
        )
    yield ""
    yield from dict.fromkeys(f"{score['text']}: {score['how']}" for score in found["scores"])
    comparison = found.get("comparison")
    if comparison:
        yield ""
        yield (
            f"against {comparison['against']}, paired bootstrap with {comparison['resamples']:,} "
            "resamples, 95% intervals:"
        )
        for score in comparison["scores"]:
            difference = score["score"] - score["against"]
            yield (
                f"{_name(score)}: {difference:+.2f}, p = {score['p_value']:.4f}; "
                f"{_with(score['score'], score['interval'])} here, "
                f"{_with(score['against'], score['against_interval'])} there"
            )


def _name(score: dict[str, Any]) -> str:
    return f"{score['name']}, {score['text']}"


def _with(score: float, interval: tuple[float, float]) -> str:
    return f"{score:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    logging.getLogger("sacrebleu").setLevel(logging.WARNING)  # else each step, as fairseq set it

    def run() -> None:
        args = _arguments().parse_args(arguments)
        found = figures(args)
        print("\n".join(table(found)), file=beside(args.json))
        if args.json:
            with atomic_write([args.json]) as [file]:
                file.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
