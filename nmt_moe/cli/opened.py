"""``nmt-moe claims test``."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt_moe.cli.arguments import option, positional, required, switch
from nmt_moe.cli.evaluate import translated
from nmt_moe.cli.translate import OfText
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write, check_folder, check_no_input
from nmt_moe.common.lines import READING, open_bytes, read_pairs, unreadable
from nmt_moe.trained.search import BEAM, RANGES

if TYPE_CHECKING:
    from nmt_moe.score.bleu import Measure


@dataclass(kw_only=True)
class Test(OfText):
    """Open a test text: translate it, score that, and record it, so that no published line is
    chosen by its test. BLEU and chrF as they are, and lower-cased and normalised as in papers, each
    with its signature. The same text is refused where it was opened for the same line before.
    """

    model: str = positional("a model's folder, or a checkpoint", "MODEL")
    source: Path = positional("the text, one sentence a line, may be .gz", "SOURCE")
    reference: Path = positional("its translation by people, line by line", "REFERENCE")
    line: str = required(
        "what is published with the scores, such as 'Multi30k de, 60 minutes, seed 1'"
    )
    record: Path = required(
        "the file of what was opened, to which this is added, such as results/opened.jsonl"
    )
    again: str | None = option(
        None, "why the text is opened once more for this line, which is recorded", metavar="REASON"
    )
    target_lang: str | None = option(
        None, "language to translate into, needed where the model has several", metavar="LANGUAGE"
    )
    beam: int = option(BEAM, "beam size", RANGES["beam"])
    int8: bool = switch("open the model with weights in int8")
    out: Path | None = option(None, "write the translations to this file, as for later comparisons")

    def run(self) -> None:
        written = [path for path in (self.record, self.out) if path]
        check_no_input(written, [self.source, self.reference], "--record or --out")
        check_folder(written, "--record or --out")
        for name, text in (("--line", self.line), ("--again", self.again)):
            if text is not None and not text.strip():
                raise UserError(f"{name} is empty: say what it is")
        from nmt_moe.runs.claims import opened
        from nmt_moe.runs.claims.machine import commit
        from nmt_moe.trained.device import find_device, workers_for
        from nmt_moe.trained.folder import in_int8
        from nmt_moe.trained.translator import Translator

        device = find_device(self.device, self.int8 or in_int8(self.model))
        translator = Translator(
            self.model, target_lang=self.target_lang, device=str(device), beam=self.beam,
            workers=self.workers or workers_for(device), int8=self.int8,
        )  # fmt: skip
        target = self.target_lang or translator.target_lang
        chosen = measures(target)
        entry = {
            "line": self.line,
            "commit": commit(),
            "source": _file(self.source),
            "reference": _file(self.reference),
            "model": [_file(path) for path in _weights(self.model)],
            "how": {"target_lang": target, "beam": self.beam, "int8": self.int8},
        }
        pairs = [*read_pairs(self.source, self.reference)]
        if not pairs:
            raise UserError(f"{self.source} is empty: there is nothing to translate")
        mark = opened.opening(self.record, entry, self.again)
        sources, references = (list(side) for side in zip(*pairs, strict=True))
        hypotheses = translated(translator, sources)
        scores = [
            {"lowercase": case, **asdict(measure.score(hypotheses, references))}
            for case, measure in chosen
        ]
        if self.out:
            with atomic_write([self.out]) as [file]:
                file.writelines(f"{line}\n" for line in hypotheses)
        opened.scored(self.record, mark, scores)
        print(f"{self.line}: {self.source.name}, {len(pairs):,} sentences, in {self.record}")
        for score in scores:
            case = "lower-cased, " * score["lowercase"]
            what = f"{score['name']}, {case}{score['text']}"
            print(f"{what}: {score['score']:.2f}   {score['signature']}")


def measures(target: str) -> list[tuple[bool, "Measure"]]:
    """All metrics for a target language, first as the text is, then lower-cased and normalised, as
    papers on image captions have it; whether they are lower-cased.

    Of a language that nobody knows there is only what needs no tokeniser.
    """
    from nmt_moe.common.languages import find
    from nmt_moe.score import bleu

    if find(target) is not None:
        return [(case, one) for case in (False, True) for one in bleu.measures(target, case, case)]
    return [
        (case, bleu.Measure("detokenised", "as it is; tokens by sacrebleu", str, metric))
        for case in (False, True)
        for metric in bleu.plain_metrics(target, case)
    ]


def _weights(model: str) -> list[Path]:
    """The files of weights of a model, or of an ensemble."""
    from nmt_moe.trained.folder import MODEL

    paths = [Path(model)] if Path(model).exists() else [*map(Path, model.split(":"))]
    return [path / MODEL if path.is_dir() else path for path in paths]


def _file(path: Path) -> dict[str, Any]:
    """Its name and checksum; of one that is packed, of its content."""
    digest = hashlib.sha256()
    try:
        with open_bytes(path) as file:
            while block := file.read(2**20):
                digest.update(block)
    except READING as error:
        raise unreadable(path, error) from None
    return {"name": path.name, "sha256": digest.hexdigest()}
