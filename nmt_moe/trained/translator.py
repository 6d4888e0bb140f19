"""Translating sentences with loaded models."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import torch
from fairseq.data import data_utils
from fairseq.utils import resolve_max_positions
from sentencepiece import SentencePieceProcessor

from nmt_moe.common.errors import UserError
from nmt_moe.tasks.gnmt_translation import GNMTTranslationTask
from nmt_moe.trained.text import cut, joined

_MAX_TRANSLATION = 250  # pieces, as in the recipes; more where the parts may be long
_BATCH_PIECES = 4000  # of the sources of a batch, padding included


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
        longest = max(_MAX_TRANSLATION, 2 * max_pieces)
        self._generator = task.build_generator(
            models, Namespace(beam=beam, max_len_a=0, max_len_b=longest)
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
        parts, counts = [], []
        for sentence in sentences:
            if not isinstance(sentence, str):
                raise UserError(f"a translator takes a list of strings, not {sentence!r:.80}")
            pieces = self._wordpieces.encode(sentence, out_type=str)
            found = cut(pieces, self._max_pieces) if pieces else []
            parts += found
            counts.append(len(found))
        translated = iter(self._translate(parts))
        return [joined(next(translated) for _ in range(count)) for count in counts]

    def _translate(self, parts: list[list[str]]) -> list[str]:
        if not parts:
            return []
        words = self._task.source_dictionary
        tokens = [
            torch.tensor([*map(words.index, self._tag + pieces), words.eos()]) for pieces in parts
        ]
        dataset = self._task.build_dataset_for_inference(tokens, list(map(len, tokens)))
        with data_utils.numpy_seed(1):
            order = dataset.ordered_indices()
        batches = dataset.batch_by_size(
            order,
            max_tokens=max([_BATCH_PIECES, *map(len, tokens)]),
            max_sentences=self._batch_size,
        )
        result = [""] * len(parts)
        for batch in batches:
            sample = dataset.collater([dataset[number] for number in batch])
            sample["net_input"] = {
                name: tensor.to(self._device) for name, tensor in sample["net_input"].items()
            }
            found = self._task.inference_step(self._generator, self._models, sample)
            for number, translations in zip(sample["id"].tolist(), found, strict=True):
                result[number] = self._text(translations[0]["tokens"].cpu())
        return result

    def _text(self, tokens: torch.Tensor) -> str:
        words = self._task.target_dictionary
        pieces = [words[token] for token in tokens.tolist() if token != words.eos()]
        return " ".join(self._wordpieces.decode_pieces(pieces).split())
