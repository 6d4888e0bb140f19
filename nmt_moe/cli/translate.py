"""``nmt-moe translate``."""

import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, switch
from nmt_moe.common.languages import language
from nmt_moe.common.progress import Progress
from nmt_moe.common.ranges import integers
from nmt_moe.trained.search import BATCH_SIZE, BEAM, BUFFER_LINES, MAX_PIECES, RANGES


@dataclass(kw_only=True)
class OnDevice(Command):
    """A command with a model."""

    device: str | None = option(
        None, "cpu, cuda or cuda:1 (default: a GPU if there is one)", metavar="DEVICE"
    )


@dataclass(kw_only=True)
class OfText(OnDevice):
    """A command that translates."""

    workers: int | None = option(
        None,
        "processes that translate at the same time on a CPU and share the weights (default: one "
        "for each core, or of OMP_NUM_THREADS)",
        RANGES["workers"],
    )


@dataclass(kw_only=True)
class Translate(OfText):
    """Translate text: read UTF-8 lines, write a line for each. The folder of the checkpoint holds
    dict.SOURCE.txt, dict.TARGET.txt and sentencepiece.model.

    Files keep their form, and only their text is translated: plain text, columns of TSV (.tsv),
    subtitles (.srt, .vtt), Markdown (.md) and HTML (.html).
    """

    checkpoint: str = positional(
        "a model's folder, or a checkpoint such as checkpoint_best.pt; an ensemble has colons "
        "between its models",
        "CHECKPOINT",
    )
    files: list[Path] = positional("to translate (default: standard input)", "FILE", nargs="*")
    out: str | None = option(
        None,
        "file for the translation, or folder for several (default: standard output)",
        metavar="PATH",
    )
    format: str | None = option(
        None,
        "form that is kept: text, tsv, srt, markdown or html (default: by the ending of a file; "
        "for standard input lines of text)",
        metavar="FORM",
        choices=("text", "tsv", "srt", "markdown", "html"),
    )
    column: str | None = option(
        None,
        "columns of TSV to translate, by numbers from 1 on or by names in the first line, with "
        "commas between them",
        metavar="COLUMN",
    )
    keep: Path | None = option(
        None, "file of terms, one in each line, that stay as they are", metavar="TERMS"
    )
    sentencepiece_model: Path | None = option(
        None, "the file, where it is not beside the checkpoint"
    )
    source_lang: str | None = option(
        None,
        "language of the text, such as en, for splitting sentences (default: that of the training)",
        metavar="LANGUAGE",
    )
    target_lang: str | None = option(
        None, "language to translate into, needed where the model has several", metavar="LANGUAGE"
    )
    beam: int = option(BEAM, "beam size", RANGES["beam"])
    gnmt_alpha: float = option(0.2, "weight of the length normalisation", RANGES["gnmt_alpha"])
    gnmt_beta: float = option(0.2, "weight of the coverage penalty", RANGES["gnmt_beta"])
    batch_size: int = option(BATCH_SIZE, "sentences per batch", RANGES["batch_size"])
    max_pieces: int = option(
        MAX_PIECES,
        "longest sentence that is translated as a whole, in wordpieces",
        RANGES["max_pieces"],
    )
    shortlist: Path | None = option(
        None,
        "file of 'nmt-moe model shortlist': translations have only the pieces that it allows, "
        "which makes the search faster",
    )
    lines_are_sentences: bool = switch("do not split lines into sentences")
    buffer_lines: int | None = option(
        None,
        "lines that are read before their translations are written "
        f"(default: {BUFFER_LINES:,}; 1 at a terminal)",
        integers(1),
    )
    int8: bool = switch("open the model with weights in int8, for translating faster on CPUs")
    progress: bool = switch("show the progress on stderr, as at a terminal")

    def in_own_process(self) -> None:
        """Interrupted, or when nobody reads on: end at once without a word, as filters do.

        A draft of ``--out`` is removed first.
        """
        if self.out is None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    def run(self) -> None:
        from nmt_moe.common.lines import read_lines
        from nmt_moe.trained.device import find_device, workers_for
        from nmt_moe.trained.folder import in_int8
        from nmt_moe.trained.loading import load
        from nmt_moe.translate.documents import files
        from nmt_moe.translate.documents.lines import text_lines
        from nmt_moe.translate.documents.translating import Documents, terms
        from nmt_moe.translate.sentences import Sentences
        from nmt_moe.translate.text import read_clean, translate_lines

        formed = bool(self.files or self.out or self.format or self.column)
        jobs = files.plan(self.files or [], self.out, self.format, self.column) if formed else []
        kept = terms(read_lines(self.keep)) if self.keep else None
        model = load(
            self.checkpoint,
            source_lang=self.source_lang,
            target_lang=self.target_lang,
            sentencepiece_model=self.sentencepiece_model,
            device=find_device(self.device, self.int8 or in_int8(self.checkpoint)),
            int8=self.int8,
        )
        numbers = {name: getattr(self, name) for name in RANGES}
        numbers["workers"] = self.workers or workers_for(model.device)
        translator = model.translator(**numbers, shortlist=self.shortlist)
        source = self.source_lang or translator.source_lang
        if source != translator.source_lang:
            language(source)  # refuses what is none
        sentences = None if self.lines_are_sentences else Sentences(source)
        terminal = sys.stdin.isatty() and not self.files
        if terminal:
            print("type a line of text; Ctrl-D ends", file=sys.stderr)
        buffer_lines = self.buffer_lines or (1 if terminal else BUFFER_LINES)
        shown = self.progress or (sys.stderr.isatty() and not terminal)
        live = self.out is not None or not sys.stdout.isatty()
        documents = Documents(translator.aligned, sentences, kept, buffer_lines)
        unit = "texts" if formed else "lines"
        with Progress("translate", unit, shown=shown, live=live) as progress:
            if formed:
                files.translate(jobs, documents, self.column, progress.add)
                return
            lines = read_clean(sys.stdin.buffer)
            if kept:
                found = documents(text_lines(f"{line}\n" for line in lines))
            else:
                groups = translate_lines(lines, translator, sentences, buffer_lines)
                found = (("".join(f"{line}\n" for line in one), len(one)) for one in groups)
            for text, number in found:
                sys.stdout.buffer.write(text.encode())
                sys.stdout.buffer.flush()
                progress.add(number)
