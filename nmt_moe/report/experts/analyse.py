"""The content of a report: one model on one text."""

import math
import sys
from collections.abc import Iterator
from itertools import islice
from operator import gt
from pathlib import Path
from typing import Any

import numpy as np

from nmt_moe.checkpoint.record import Checkpoint
from nmt_moe.common.errors import UserError
from nmt_moe.common.progress import Progress
from nmt_moe.models import quantized
from nmt_moe.models.architectures import LANGUAGE, TRANSLATION
from nmt_moe.plan import counts
from nmt_moe.report.experts.attention import AttentionTally
from nmt_moe.report.experts.batches import Batch, Sentence, run
from nmt_moe.report.experts.data import Data, labelled
from nmt_moe.report.experts.description import describe
from nmt_moe.report.experts.layer import LayerTally, Side
from nmt_moe.report.experts.sentences import Chosen, picture, typed
from nmt_moe.report.experts.text import Spelling
from nmt_moe.trained.loading import load
from nmt_moe.trained.model import TrainedModel


def open_model(path: Path, **options: Any) -> TrainedModel:
    """Load a model whose layers a report can analyse.

    Args:
        path: a complete checkpoint.
        options: as for :func:`nmt_moe.trained.loading.load`.

    Raises:
        UserError: it is no checkpoint, not of a model of this package, or in int8.
    """
    checkpoint = Checkpoint.complete(path)
    arch = checkpoint.options("model")["_name"]
    if arch not in TRANSLATION | LANGUAGE:
        raise UserError(f"{path} is of --arch {arch}, which is none of this package")
    if quantized.is_asked_for(checkpoint.options("model")):
        raise UserError(f"{path} is in int8, for translating only: name the one in float32")
    return load(checkpoint, **options)


def analyse(
    trained: TrainedModel,
    data: Data,
    labels: Path | None,
    sentences: list[str],
    limit: int | None,
    max_tokens: int,
) -> dict[str, Any]:
    """Run a model over a text and describe what its experts did; shows progress at a terminal.

    Memory grows with the number of different pairs of expert and wordpiece, not with the text.

    Args:
        trained: the model.
        data: the text.
        labels: a file with a label for each sentence, or None.
        sentences: further sentences to show beside a few of the data, see :func:`typed`.
        limit: the number of sentences to read; None: all.
        max_tokens: on each side of a batch, padding included.

    Returns:
        The content of a report; ``layers`` is empty for a model without experts.

    Raises:
        UserError: there are no sentences, or labels or sentences do not fit.
    """
    own = typed(trained, sentences)
    reader = _Reader(trained, data, labels or data.labels, limit)
    tally = _Tally(trained)
    shown = sys.stderr.isatty()
    with Progress(data.name, "sentences", reader.size, shown=shown) as progress:
        for batch in run(trained, reader, max_tokens):
            tally.add(batch)
            progress.add(len(batch.sentences))
    if not tally.sentences:
        raise UserError(f"{data.name} holds no sentences")
    if reader.too_long:
        source, target = trained.limits
        print(
            f"warning: left out {reader.too_long:,} sentences of more than {source:,} source or "
            f"{target:,} target pieces, the most that the training took",
            file=sys.stderr,
        )
    cfg = trained.cfg
    names = list(reader.labels) or None
    return {
        "checkpoint": str(trained.path),
        "arch": cfg.model._name,
        "task": "translation" if trained.languages else "language_modeling",
        "languages": list(trained.languages) if trained.languages else None,
        "updates": trained.updates,
        "model": describe(trained.model, cfg.model),
        "data": {
            "name": data.name,
            "sentences": tally.sentences,
            "source_tokens": tally.source_tokens,
            "target_tokens": tally.target_tokens,
            "perplexity": math.exp(tally.nll / tally.target_tokens),
            "labels": names,
        },
        "attention": tally.attention.content(),
        "layers": tally.layers(names),
        "sentences": [picture(trained, pair) for pair in [*reader.chosen.pairs(), *own]],
    }


class _Reader:
    """The sentences with their labels as numbers; collects the other facts that a report needs of
    them."""

    def __init__(
        self, trained: TrainedModel, data: Data, labels: Path | None, limit: int | None
    ) -> None:
        self.size = data.size if limit is None else min(limit, data.size)
        self._limits = trained.limits
        self._found = islice(labelled(data, labels, trained), self.size)
        self.labels: dict[str, int] = {}
        self.chosen = Chosen()
        self.too_long = 0

    def __iter__(self) -> Iterator[Sentence]:
        for number, (pair, label) in enumerate(self._found):
            known = None if label is None else self.labels.setdefault(label, len(self.labels))
            sentence = Sentence(number, pair, known)
            if any(map(gt, sentence.lengths, self._limits)):
                self.too_long += 1
                continue
            self.chosen.see(sentence)
            yield sentence


class _Tally:
    """Accumulates the figures of batches."""

    def __init__(self, trained: TrainedModel) -> None:
        cfg = trained.cfg.model
        self._pad = trained.pad
        self.attention = AttentionTally(trained.pad)
        self._layers = {
            name: LayerTally(name, layer, str(cfg.moe_gating), cfg.moe_k, trained.pad)
            for name, layer in counts.mixtures(trained.model).items()
        }
        self._spellings = {
            "encoder": Spelling(trained.task.source_dictionary),
            "decoder": Spelling(trained.read_dictionary),
        }
        self.sentences = self.source_tokens = self.target_tokens = 0
        self.nll = 0.0

    def add(self, batch: Batch) -> None:
        """Count the model's output for a batch."""
        self.sentences += len(batch.sentences)
        for sentence in batch.sentences:
            source, target = sentence.lengths
            self.source_tokens += source
            self.target_tokens += target
        self.nll += batch.nll
        self.attention.add(batch)
        line_B = np.array([sentence.number for sentence in batch.sentences])
        labels = [sentence.label for sentence in batch.sentences]
        label_B = None if labels[0] is None else np.array(labels)
        read = {"encoder": batch.source_BS, "decoder": batch.read_BL}
        sides = {
            stack: Side.of(tokens, self._pad, line_B, label_B)
            for stack, tokens in read.items()
            if tokens is not None
        }
        for name, routing in batch.routing.items():
            self._layers[name].add(routing, sides[_stack(name)])

    def layers(self, labels: list[str] | None) -> list[dict[str, Any]]:
        """The content of each layer."""
        return [
            layer.content(self._spellings[_stack(name)], labels)
            for name, layer in self._layers.items()
        ]


def _stack(layer: str) -> str:
    return layer.partition(".")[0]
