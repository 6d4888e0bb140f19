"""The command line: ``python -m nmt_moe.translate CHECKPOINT < text > text``."""

import argparse
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nmt_moe.common.errors import exit_code
from nmt_moe.common.languages import language
from nmt_moe.common.progress import Progress
from nmt_moe.common.ranges import Parser, integers, numbers
from nmt_moe.trained.device import add_device, find_device
from nmt_moe.trained.loading import load
from nmt_moe.trained.text import joined
from nmt_moe.translate.sentences import Sentences
from nmt_moe.translate.text import buffered, read_clean

_BUFFER_LINES = 1000
_BUFFER_CHARACTERS = 1_000_000


def translate_lines(
    lines: Iterable[str],
    translator: Callable[[list[str]], list[str]],
    sentences: Sentences | None,
    buffer_lines: int,
) -> Iterator[list[str]]:
    """The translations of the lines, in the same order, some at a time.

    Args:
        lines: text without line ends.
        translator: of sentences.
        sentences: finds them in a line; None where each line is a sentence, or empty.
        buffer_lines: lines that are read before they are translated, together.
    """
    for buffer in buffered(lines, buffer_lines, _BUFFER_CHARACTERS):
        found = [sentences(line) if sentences else [line] for line in buffer]
        translated = iter(translator([sentence for group in found for sentence in group]))
        yield [joined(next(translated) for _ in group) for group in found]


def _arguments() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m nmt_moe.translate",
        description="Translate text: reads UTF-8 lines, writes a line for each. Beside the "
        "checkpoint lie dict.SOURCE.txt, dict.TARGET.txt and sentencepiece.model.",
    )
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT",
        help="such as checkpoint_best.pt; several of one vocabulary with a colon between them",
    )  # fmt: skip
    parser.add_argument(
        "--sentencepiece-model", type=Path, metavar="FILE",
        help="where it is not beside the checkpoint",
    )  # fmt: skip
    parser.add_argument(
        "--source-lang", metavar="LANGUAGE",
        help="of the text, such as en: its abbreviations do not end a sentence "
        "(default: that of the training)",
    )  # fmt: skip
    parser.add_argument(
        "--target-lang", metavar="LANGUAGE",
        help="where the model translates into several",
    )  # fmt: skip
    parser.add_argument("--beam", type=integers(1), default=4, metavar="N", help="(default: 4)")
    for name, what in (("alpha", "length normalisation"), ("beta", "coverage penalty")):
        parser.add_argument(
            f"--gnmt-{name}", type=numbers(0), default=0.2, metavar="X",
            help=f"weight of the {what} (default: 0.2)",
        )  # fmt: skip
    parser.add_argument(
        "--batch-size", type=integers(1), default=64, metavar="N",
        help="sentences translated together (default: 64)",
    )  # fmt: skip
    parser.add_argument(
        "--max-pieces", type=integers(1), default=150, metavar="N",
        help="a longer sentence is translated in parts (default: 150)",
    )  # fmt: skip
    parser.add_argument(
        "--lines-are-sentences", action="store_true", help="do not look for sentences in a line"
    )
    parser.add_argument(
        "--buffer-lines", type=integers(1), metavar="N",
        help="lines read before their translations are written "
        f"(default: {_BUFFER_LINES:,}; 1 at a terminal)",
    )  # fmt: skip
    add_device(parser)
    parser.add_argument(
        "--progress", action="store_true",
        help="say on stderr how many lines are done, as at a terminal",
    )  # fmt: skip
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command line."""

    def run() -> None:
        args = _arguments().parse_args(arguments)
        model = load(
            args.checkpoint,
            source_lang=args.source_lang,
            target_lang=args.target_lang,
            sentencepiece_model=args.sentencepiece_model,
            device=find_device(args.device),
        )
        search = ("beam", "batch_size", "max_pieces", "gnmt_alpha", "gnmt_beta")
        translator = model.translator(**{name: getattr(args, name) for name in search})
        source = args.source_lang or translator.source_lang
        if source != translator.source_lang:
            language(source)  # refuses what is none
        sentences = None if args.lines_are_sentences else Sentences(source)
        terminal = sys.stdin.isatty()
        if terminal:
            print("type a line of text; Ctrl-D ends", file=sys.stderr)
        buffer_lines = args.buffer_lines or (1 if terminal else _BUFFER_LINES)
        shown = args.progress or (sys.stderr.isatty() and not terminal)
        lines = read_clean(sys.stdin.buffer)
        with Progress("translate", "lines", shown=shown, live=not sys.stdout.isatty()) as progress:
            for translated in translate_lines(lines, translator, sentences, buffer_lines):
                sys.stdout.buffer.write("".join(f"{line}\n" for line in translated).encode())
                sys.stdout.buffer.flush()
                progress.add(len(translated))

    return exit_code(run)


if __name__ == "__main__":
    # Interrupted, or when nobody reads on: end at once and without a word, as other filters do.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
