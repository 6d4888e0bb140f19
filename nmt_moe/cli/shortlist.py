"""``nmt-moe model shortlist``."""

import sys
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, required
from nmt_moe.common.errors import UserError
from nmt_moe.common.progress import Progress, bytes_text
from nmt_moe.common.ranges import integers

_LOOKED_AT = 2000  # pairs, for what looks wrong with the text


@dataclass(kw_only=True)
class Learn(Command):
    """Learn from parallel text, best that of the training, which pieces of the target go with each
    piece of the source. With the table, 'nmt-moe translate --shortlist' and fairseq-generate
    --task gnmt_translation --shortlist compute the output layer for the pieces that a batch of
    sentences may need, and not for the whole vocabulary.
    """

    checkpoint: str = positional("a model's folder, or a checkpoint", "CHECKPOINT")
    source: Path = positional("text in the source language, may be packed", "SOURCE")
    target: Path = positional("its translation, line by line", "TARGET")
    out: Path = required("the table", metavar="FILE")
    each: int = option(50, "pieces of the target for each piece of the source", integers(1))
    frequent: int = option(
        500, "most frequent pieces of the target, which all sentences may have", integers(0)
    )
    sentencepiece_model: Path | None = option(
        None, "the file, where it is not beside the checkpoint"
    )
    target_lang: str | None = option(
        None, "language of TARGET, needed where the model has several", metavar="LANGUAGE"
    )

    def run(self) -> None:
        from nmt_moe.common.files import check_folder, check_no_input
        from nmt_moe.common.lines import read_pairs
        from nmt_moe.corpus import lexicon, shortlist
        from nmt_moe.corpus.sources.pair import Pair
        from nmt_moe.corpus.suspicions import look
        from nmt_moe.trained.loading import load
        from nmt_moe.trained.model import Encoder

        check_no_input([self.out], [self.source, self.target], "--out")
        check_folder([self.out], "--out")
        model = load(
            self.checkpoint,
            target_lang=self.target_lang,
            sentencepiece_model=self.sentencepiece_model,
        )
        if model.languages is None:
            raise UserError(f"{model.path} does not translate: it is a language model")
        encoder, task = Encoder(model), model.task
        words = task.source_dictionary, task.target_dictionary
        source, target = lexicon.Sentences(), lexicon.Sentences()
        first: list[Pair] = []  # what looks wrong with the text is seen in these
        with Progress("read", "lines") as progress:
            for one, other in read_pairs(self.source, self.target):
                if not one.strip() or not other.strip():
                    continue
                if len(first) < _LOOKED_AT:
                    first.append(Pair(one, other, len(first) + 1))
                source.add(encoder.source(one).tolist())
                target.add(encoder.target(other).tolist())
                progress.add(1)
        if not len(source):
            raise UserError(f"{self.source}: there is no line to learn from")
        for found in look(first, model.source_lang, model.target_lang or model.languages[1]):
            if found.kind in ("swapped", "language", "misaligned"):
                print(f"warning: {self.source}, {self.target}: {found.message}", file=sys.stderr)
        steps = (1 + lexicon.ROUNDS) * len(words[0])
        with Progress("learn", "steps", total=steps) as progress:
            table = lexicon.learn(
                source,
                target,
                [[words[1].index(piece)] for piece in words[0].symbols],  # names are copied
                len(words[1]),
                range(words[1].nspecial),
                self.each,
                self.frequent,
                progress.add,
            )
        shortlist.write(self.out, table, *(one.symbols for one in words))
        print(
            f"{self.out}: {len(table.pieces_N) / len(words[0]):.0f} pieces for each of "
            f"{len(words[0]):,}, {len(table.common_N):,} for all, learned from {len(source):,} "
            f"lines, {bytes_text(self.out.stat().st_size)}"
        )
