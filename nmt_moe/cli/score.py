"""``nmt-moe score``."""

import json
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, required, switch
from nmt_moe.common.files import atomic_write, beside, check_folder, check_no_input
from nmt_moe.common.ranges import integers


@dataclass(kw_only=True)
class Score(Command):
    """BLEU and chrF of detokenised text, and BLEU of tokenised text as Moses' multi-bleu.perl
    computes it, for comparison with papers that did so; each with its signature. For German also
    with words split at hyphens, as papers on WMT'14 have it.
    """

    hypotheses: Path = positional("translations, detokenised, one a line", "HYPOTHESES")
    reference: Path = positional("reference translations, one a line", "REFERENCE")
    target_lang: str = required(
        "such as de or zh_TW, which decides how words are tokenised", metavar="LANGUAGE"
    )
    lowercase: bool = switch("ignore case")
    normalise: bool = switch(
        "normalise punctuation on both sides, as Moses does, before text is tokenised"
    )
    against: Path | None = option(
        None, "hypotheses of another system, to compare with by paired bootstrap"
    )
    resamples: int = option(1000, "samples of the paired bootstrap", integers(1))
    reference_scores: Path | None = option(
        None,
        "generate-test.txt of fairseq-generate --score-reference, for the perplexity",
    )
    title: str | None = option(
        None, "the first line of the output (default: the name of HYPOTHESES)"
    )
    json: Path | None = option(None, "write all figures to this file, too; -: print them instead")

    def run(self) -> None:
        from nmt_moe.score.figures import figures, table

        read = (self.hypotheses, self.reference, self.against, self.reference_scores)
        if self.json:
            check_no_input([self.json], [path for path in read if path], "--json")
            check_folder([self.json], "--json")
        found = figures(
            self.hypotheses,
            self.reference,
            self.target_lang,
            self.lowercase,
            self.normalise,
            self.against,
            self.resamples,
            self.reference_scores,
            self.title,
        )
        print("\n".join(table(found)), file=beside(self.json))
        if self.json:
            with atomic_write([self.json]) as [file]:
                file.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
