"""Batches of sentences, and their forward pass."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fairseq.data import LanguagePairDataset, MonolingualDataset

from nmt_moe.criterions.cross_entropy import smoothed_cross_entropy
from nmt_moe.moe import Routing
from nmt_moe.report.experts.counting import Ints
from nmt_moe.report.experts.data import Pair
from nmt_moe.trained.model import TrainedModel

_SORTED = 4096  # sentences among which those of one length come together


@dataclass(frozen=True)
class Sentence:
    """A sentence of the data."""

    number: int
    pair: Pair
    label: int | None

    @property
    def lengths(self) -> tuple[int, int]:
        """Pieces of source and target, ends of sentences included."""
        source, target = self.pair
        return (0 if source is None else len(source)), len(target)


@dataclass(frozen=True)
class Batch:
    """The model's output for some sentences, teacher-forced with their targets."""

    sentences: list[Sentence]
    source_BS: Ints | None
    """None of a language model."""
    read_BL: Ints
    """What the decoder reads: the end-of-sentence symbol, then the target. All padded right."""
    predicted_BL: Ints
    """The target."""
    routing: dict[str, Routing]
    """By the name of the layer."""
    attention_BLS: torch.Tensor | None
    nll: float
    """Negative log likelihood of the targets in nats."""


def run(trained: TrainedModel, sentences: Iterable[Sentence], max_tokens: int) -> Iterator[Batch]:
    """Run batches of at most ``max_tokens`` tokens on each side, padding included; a longer
    sentence is a batch of its own."""
    rest = iter(sentences)
    while some := list(itertools.islice(rest, _SORTED)):
        dataset = _dataset(trained, some)
        longest = max(map(max, (sentence.lengths for sentence in some)))
        numbers = dataset.batch_by_size(
            dataset.ordered_indices(), max_tokens=max(max_tokens, longest)
        )
        for batch in numbers:
            sample = dataset.collater([dataset[number] for number in batch])
            yield _forward(trained, [some[number] for number in sample["id"].tolist()], sample)


def _dataset(trained: TrainedModel, sentences: Sequence[Sentence]) -> Any:
    sources, targets = zip(*(sentence.pair for sentence in sentences), strict=True)
    sizes = np.array([sentence.lengths for sentence in sentences])
    task = trained.task
    if trained.languages is not None:
        return LanguagePairDataset(
            *(sources, sizes[:, 0], task.source_dictionary),
            *(targets, sizes[:, 1], task.target_dictionary),
            left_pad_source=False,
            shuffle=False,
        )
    # The end of the sentence before comes first. What cannot be predicted is replaced in place.
    items = [(torch.cat([target[-1:], target[:-1]]), target.clone(), None) for target in targets]
    return MonolingualDataset(
        items, sizes[:, 1], task.source_dictionary, task.target_dictionary, targets=["future"]
    )


@torch.no_grad()
def _forward(trained: TrainedModel, sentences: list[Sentence], sample: dict[str, Any]) -> Batch:
    device = trained.device
    inputs = {name: tensor.to(device) for name, tensor in sample["net_input"].items()}
    logits_BLV, extra = trained.model(**inputs)
    if trained.model.decoder.adaptive_softmax is not None:  # these were features
        logits_BLV = trained.model.get_normalized_probs((logits_BLV, extra), log_probs=True)
    target_BL = sample["target"]
    _, nll = smoothed_cross_entropy(
        logits_BLV.flatten(0, 1), target_BL.flatten().to(device), 0.0, trained.pad
    )
    source_BS = sample["net_input"]["src_tokens"].numpy()
    read_BL = sample["net_input"].get("prev_output_tokens")
    return Batch(
        sentences=sentences,
        source_BS=None if read_BL is None else source_BS,
        read_BL=source_BS if read_BL is None else read_BL.numpy(),
        predicted_BL=target_BL.numpy(),
        routing=extra["routing"],
        attention_BLS=extra["attn"][0],
        nll=float(nll),
    )
