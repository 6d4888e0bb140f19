"""Translating sentences with loaded models."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset, data_utils
from fairseq.utils import apply_to_sample, resolve_max_positions
from sentencepiece import SentencePieceProcessor

from nmt_moe.common.errors import UserError
from nmt_moe.tasks.gnmt_translation import GNMTTranslationTask
from nmt_moe.trained.search import longest_translation
from nmt_moe.trained.text import in_parts

BATCH_PIECES = 4000
"""Of the sources of a batch, padding included."""


def ordered(dataset: FairseqDataset) -> np.ndarray:
    """The numbers of a dataset's sentences by their length, the same in each call."""
    with data_utils.numpy_seed(1):
        return dataset.ordered_indices()


def batches(
    dataset: FairseqDataset,
    order: np.ndarray,
    max_pieces: int,
    max_sentences: int,
    device: torch.device,
) -> Iterator[dict[str, Any]]:
    """The sentences of these numbers in batches, padding counted among their pieces."""
    for batch in dataset.batch_by_size(order, max_tokens=max_pieces, max_sentences=max_sentences):
        sample = dataset.collater([dataset[number] for number in batch])
        yield apply_to_sample(lambda tensor: tensor.to(device), sample)


class Translator:
    """Translates sentences.

    Args:
        task: the task of the models, with their dictionaries.
        models: an ensemble.
        wordpieces: cuts text into the pieces of the dictionaries.
        beam: width of the search.
        batch_size: sentences that are translated together.
        max_pieces: a longer sentence is translated in parts.
        device: where the models are.
        tag: a piece before each source sentence, or none.
    """

    def __init__(
        self,
        task: GNMTTranslationTask,
        models: Sequence[Any],
        wordpieces: SentencePieceProcessor,
        beam: int,
        batch_size: int,
        max_pieces: int,
        device: torch.device,
        tag: str | None,
    ) -> None:
        self._task = task
        self._models = models
        self._wordpieces = wordpieces
        self._batch_size = batch_size
        self._device = device
        self._tag = [] if tag is None else [tag]
        self._generator = task.build_generator(
            models, Namespace(beam=beam, max_len_a=0, max_len_b=longest_translation(max_pieces))
        )
        positions = resolve_max_positions(
            task.max_positions(), *[model.max_positions() for model in models]
        )
        self._max_pieces = min(max_pieces, positions[0] - 1 - len(self._tag))

    @property
    def source_lang(self) -> str:
        """The source language of the training."""
        return self._task.cfg.source_lang

    def __call__(self, sentences: Sequence[str]) -> list[str]:
        """The translations in the same order, without line ends; an empty sentence stays empty.

        Raises:
            UserError: it is not given a list of strings.
        """
        if isinstance(sentences, str):
            raise UserError("a translator takes a list of sentences: put the string into a list")
        for sentence in sentences:
            if not isinstance(sentence, str):
                raise UserError(f"a translator takes a list of strings, not {sentence!r:.80}")
        pieces = (self._wordpieces.encode(sentence, out_type=str) for sentence in sentences)
        return in_parts(pieces, self._max_pieces, self._translate)

    def _translate(self, parts: list[list[str]]) -> list[str]:
        if not parts:
            return []
        words = self._task.source_dictionary
        tokens = [
            torch.tensor([*map(words.index, self._tag + pieces), words.eos()]) for pieces in parts
        ]
        dataset = self._task.build_dataset_for_inference(tokens, list(map(len, tokens)))
        order, longest = ordered(dataset), max([BATCH_PIECES, *map(len, tokens)])
        result = [""] * len(parts)
        for sample in batches(dataset, order, longest, self._batch_size, self._device):
            found = self._task.inference_step(self._generator, self._models, sample)
            for number, translations in zip(sample["id"].tolist(), found, strict=True):
                result[number] = self._text(translations[0]["tokens"].cpu())
        return result

    def _text(self, tokens: torch.Tensor) -> str:
        words = self._task.target_dictionary
        pieces = [words[token] for token in tokens.tolist() if token != words.eos()]
        return " ".join(self._wordpieces.decode_pieces(pieces).split())
