"""``nmt-moe report``."""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt_moe.cli.arguments import option, positional, switch
from nmt_moe.cli.translate import OnDevice
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import beside, check_folder, check_no_input, is_standard_output
from nmt_moe.common.ranges import integers

if TYPE_CHECKING:
    from nmt_moe.trained.model import TrainedModel


@dataclass(kw_only=True)
class Report(OnDevice):
    """Analyse what the experts of a trained model do on a text, in one HTML file: their load, their
    typical contexts and tokens, and how much these say about the text.

    DATA is a folder of fairseq-preprocess, or a file of text and then one with its references.
    Without references the model translates the text itself. A language model reads one file. Text
    is cut into pieces by the sentencepiece.model beside the checkpoint.
    """

    usage = """nmt-moe report CHECKPOINT DATA [REFERENCES] [--out report.html]
                [--translations translations.json]
       nmt-moe report --compare CHECKPOINT OTHER_CHECKPOINT [DATA [REFERENCES]]
       nmt-moe report --curves SAVE_DIR... [--out curves.html]"""

    paths: list[Path] = positional("as above", "PATH")
    compare: bool = switch(
        "two checkpoints side by side, such as with and without experts; the data is that of the "
        "first one's training where none is named",
        one_of="mode",
    )
    curves: bool = switch(
        "the curves of one or several trainings instead, from their logs", one_of="mode"
    )
    out: Path | None = option(
        None,
        "the page to write, - for standard output (default: report.html or curves.html; with "
        "--json none)",
    )
    json: bool = switch(
        "print the content as JSON: an object, or a list with --compare and --curves"
    )
    split: str | None = option(
        None,
        "the split of a folder (default: test if it exists, else valid)",
        choices=("train", "valid", "test"),
    )
    translations: Path | None = option(
        None,
        "scored translations in JSON, as in docs/report.md: the page begins with the scores and "
        "the best, middle and worst translations",
        metavar="FILE",
    )
    labels: Path | None = option(
        None,
        "a label on each line, such as a domain, for each sentence of the data (default: "
        "test.domain beside the text test.en; in a folder the tags such as <2de> that sources "
        "begin with)",
    )
    sentences: list[str] = option(
        [],
        "a sentence to show beside a few of the data, 'source' or 'source ||| target'; may be "
        "repeated",
        metavar="TEXT",
        name="--sentence",
        action="append",
    )
    limit: int | None = option(None, "read the first N sentences only", integers(1))
    max_tokens: int = option(4000, "pieces on each side of a batch", integers(1))
    source_lang: str | None = option(
        None, "needed where neither the checkpoint nor the data names it", metavar="LANGUAGE"
    )
    target_lang: str | None = option(
        None,
        "likewise; and to translate text with a model of several target languages",
        metavar="LANGUAGE",
    )
    sentencepiece_model: Path | None = option(
        None, "the file, where it is not beside the checkpoint"
    )

    def in_own_process(self) -> None:
        """Leave out what fairseq says of its steps."""
        logging.getLogger("fairseq").setLevel(logging.WARNING)

    def run(self) -> None:
        from nmt_moe.report.curves import read_runs
        from nmt_moe.report.page import write_curves, write_report

        if self.translations and (self.compare or self.curves):
            raise UserError("--translations goes without --compare and --curves: leave it out")
        out = self._page()
        write: Callable[[list[dict[str, Any]], Path], None]
        if self.curves:
            contents, write = read_runs(self.paths), write_curves
            what = ", ".join(run["name"] for run in contents)
        else:
            contents, write = self._contents(), write_report
            what = "; ".join(map(summary, contents))
        if self.json:
            several = self.curves or self.compare
            print(json.dumps(contents if several else contents[0]))
        if out:
            write(contents, out)
            said = sys.stderr if self.json else beside(self.out)
            print(f"wrote {out}: {what}", file=said)

    def _page(self) -> Path | None:
        """Where the page goes; None: nowhere. That it cannot is said before any work is done."""
        default = Path(f"{'curves' if self.curves else 'report'}.html")
        out = self.out or (None if self.json else default)
        if self.json and is_standard_output(out):
            raise UserError(f"--json prints to standard output, too: change --out {out}")
        check_folder([out] if out else [], "--out")
        if out and out.is_dir():
            raise UserError(
                f"--out {out} is a folder: name a file in it, such as {out}/report.html"
            )
        if out:
            inputs = [*self.paths, *filter(None, [self.translations])]
            check_no_input([out], inputs, "--out")
        return out

    def _contents(self) -> list[dict[str, Any]]:
        """The content of a report for each checkpoint."""
        from nmt_moe.report import translations
        from nmt_moe.report.experts.analyse import open_model
        from nmt_moe.trained.device import find_device

        translated = self.translations and translations.read(self.translations)
        number = 1 + self.compare
        checkpoints, data = self.paths[:number], self.paths[number:]
        if len(checkpoints) < number or len(data) > 2 or not (data or self.compare):
            needed = "--compare CHECKPOINT OTHER_CHECKPOINT [DATA [REFERENCES]]"
            needed = needed if self.compare else "CHECKPOINT DATA [REFERENCES]"
            given = "1 path is" if len(self.paths) == 1 else f"{len(self.paths)} paths are"
            raise UserError(f"{given} too few or too many: type nmt-moe report {needed}")
        device = find_device(self.device)
        contents = []
        for checkpoint in checkpoints:
            trained = open_model(
                checkpoint,
                source_lang=self.source_lang,
                target_lang=self.target_lang,
                sentencepiece_model=self.sentencepiece_model,
                data=data[0] if data and data[0].is_dir() else None,
                device=device,
            )
            data = data or [trained.training_data]
            if translated and trained.languages is None:
                raise UserError(f"{checkpoint} is a language model: leave out --translations")
            contents.append(self._content(trained, data))
            if translated:
                contents[-1]["translations"] = translated
        return contents

    def _content(self, trained: "TrainedModel", data: list[Path]) -> dict[str, Any]:
        from nmt_moe.report.experts.analyse import analyse
        from nmt_moe.report.experts.data import find

        found = find(data, self.split, trained)
        content = analyse(trained, found, self.labels, self.sentences, self.limit, self.max_tokens)
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


def summary(content: dict[str, Any]) -> str:
    """A report in a line."""
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
